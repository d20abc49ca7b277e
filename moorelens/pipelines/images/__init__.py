"""Jobs on classifiers of images: what `moorelens image` runs."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {
    "ImageConfig": "moorelens.pipelines.images.config",
    "ImageResult": "moorelens.pipelines.images.explain",
    "run_image": "moorelens.pipelines.images.explain",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
