"""Classifiers of images: what one is, how it and its pictures are read, and the bundled test-bed."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {
    "BUNDLED": "moorelens.saliency.images.bundled",
    "ImageModel": "moorelens.saliency.images.models",
    "Picture": "moorelens.saliency.images.loading",
    "bundled_card": "moorelens.saliency.images.bundled",
    "bundled_model": "moorelens.saliency.images.bundled",
    "game_frames": "moorelens.saliency.images.frames",
    "hub_model": "moorelens.saliency.images.hub",
    "load_digits": "moorelens.saliency.images.digits",
    "load_images": "moorelens.saliency.images.loading",
    "open_model": "moorelens.saliency.images.opening",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
