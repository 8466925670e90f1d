"""Settings of DiffRect: the method as described, and what the authors' code does instead.

docs/explain/presets.md has the table of both with the reason for each.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from diffrect.checks import at_least, within
from diffrect.errors import InputError
from diffrect.networks.rectifier import DenoiserInput


@dataclass(frozen=True)
class DiffRectOptions:
    """Settings of DiffRect. The defaults are the method as described; see `presets`."""

    rectify_from: int | None = None
    """First iteration with the third update; None = 1/30 of the training (1,000 of 30,000)."""
    confidence: float = 0.0
    """Pixels whose best class is not this far above the worst are unsure, see `pseudo_label`."""
    unsure_pixels: Literal["ignore", "background"] = "ignore"
    """Unsure pixels of a pseudo-label count in no loss, or are taught as background."""
    pseudo_label_loss: Literal["cross_entropy", "cross_entropy_dice"] = "cross_entropy"
    """Loss against pseudo-labels. The Dice loss pays for calling an uncertain pixel foreground; on
    its own pseudo-labels the network then grows every structure from pass to pass."""
    guidance: Literal["row", "batch", "none"] = "row"
    """Calibration guidance per slice, one value for the whole batch, or always 0 (ablation)."""
    colouring: bool = True
    """Label maps enter the rectifier coloured; false = as grey levels (ablation)."""
    rectifier_image: bool = True
    """The rectifier sees the image beside the label map; false = black instead (ablation)."""
    coarse_to_fine: bool = True
    """The rectifier learns the transport from strong view to weak view; false is an ablation."""
    fine_to_precise: bool = True
    """The rectifier learns the transport from weak view to ground truth; false is an ablation."""
    rectification: bool = True
    """The second and the third update; false = the first alone, without a rectifier (ablation)."""
    denoiser_input: DenoiserInput = "sum"
    """The denoiser sees condition + noisy latent, or the noisy latent alone."""
    clamp_latent: bool = False
    """Limit the predicted clean latent to [-1, 1] while sampling."""
    diffusion_steps: int = 10
    """T, the length of the noise schedule."""
    sample_steps: int = 2
    """DDIM steps when rectifying."""
    rectifier_interval: int = 2
    """Iterations between two updates of the rectifier."""
    rectification_update: Literal["joint", "separate"] = "joint"
    """The loss on rectified pseudo-labels joins the first update, whose forward it shares, or
    takes a forward and an optimiser step of its own, after the rectifier's."""
    sampling_mode: Literal["eval", "train"] = "eval"
    """Rectify without dropout and with running batch statistics, or as in training."""
    rectifier_decay: bool = True
    """The rectifier's learning rate decays as the segmenter's does."""
    forward: Literal["joint", "separate"] = "joint"
    """The first update forwards both views at once (shared batch statistics), or one by one."""
    labelled_views: Literal["both", "weak"] = "both"
    """Views of the labelled slices that the segmenter learns from."""
    transports: Literal["joint", "separate"] = "joint"
    """The second update trains each transport on its own rows in one pass, or both on all rows one
    after the other, where the coarse-to-fine target is the rectified weak view."""
    complementary: bool = False
    """Add the complementary loss of the two views to the consistency losses; to the rectifier's
    only with separate transports, where both views are rectified."""
    teacher_decay: float = 0.99
    """Pseudo-labels come from this moving average of the segmenter, in eval mode; 0 = from the
    segmenter's own forward in training mode."""
    consistency_weight: float = 1.0
    """Largest weight of the losses on pseudo-labels."""
    ramp_stairs: int = 200
    """The weight rises in this many stairs ..."""
    ramp_share: float = 0.3
    """... over this share of the training, ..."""
    ramp_least: int = 450
    """... but over as many iterations at least, or the whole training: teachers of a short one are
    no use before."""
    rectification_weight: float = 1.0
    """Weight of the third update's loss."""
    rectification_view: Literal["strong", "weak"] = "strong"
    """View of the slices that the third update trains on."""
    rectification_labelled: bool = True
    """The third update also learns the labels of the labelled rows it forwards."""

    def __post_init__(self) -> None:
        if self.rectify_from is not None:
            at_least("rectify_from", self.rectify_from, 0)
        for name in ("confidence", "teacher_decay", "ramp_share"):
            within(name, getattr(self, name), 0, 1)
        for name in ("consistency_weight", "rectification_weight"):
            within(name, getattr(self, name), 0, 1e6)
        if not (self.coarse_to_fine or self.fine_to_precise):
            raise InputError(
                "fine_to_precise: expected true where coarse_to_fine is false; without either "
                "transport there is nothing to train: rectification=false"
            )
        at_least("rectifier_interval", self.rectifier_interval, 1)
        at_least("ramp_stairs", self.ramp_stairs, 1)
        at_least("ramp_least", self.ramp_least, 0)
        at_least("diffusion_steps", self.diffusion_steps, 1)
        within("sample_steps", self.sample_steps, 1, self.diffusion_steps)

    def rise(self, iterations: int) -> int:
        """Iterations of a training's `iterations` after which pseudo-labels weigh in full."""
        return max(1, round(self.ramp_share * iterations), min(self.ramp_least, iterations))


REFERENCE: Mapping[str, Any] = {
    "confidence": 0.8,
    "unsure_pixels": "background",
    "consistency_weight": 0.1,
    "ramp_share": 1.0,
    "ramp_least": 0,
    "forward": "separate",
    "labelled_views": "weak",
    "transports": "separate",
    "complementary": True,
    "rectification_view": "weak",
    "rectification_labelled": False,
    "pseudo_label_loss": "cross_entropy_dice",
    "guidance": "batch",
    "denoiser_input": "noisy",
    "clamp_latent": True,
    "rectifier_interval": 1,
    "rectification_update": "separate",
    "sampling_mode": "train",
    "rectifier_decay": False,
    "teacher_decay": 0.0,
}
