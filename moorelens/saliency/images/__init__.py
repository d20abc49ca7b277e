"""Classifiers of images: what one is, how it and its pictures are read, and the bundled test-bed."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {
    "ImageModel": "moorelens.saliency.images.models",
    "open_model": "moorelens.saliency.images.opening",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
