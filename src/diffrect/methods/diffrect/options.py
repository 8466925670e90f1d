"""Settings of DiffRect: our form of the method, and what the authors' code does instead.

docs/explain/presets.md has the table of both with the reason for each.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from diffrect.checks import at_least, within
from diffrect.errors import InputError
from diffrect.methods.diffrect.largest_parts import LargestPart
from diffrect.methods.losses import consistency_ramp
from diffrect.networks.calibration import TwoClasses
from diffrect.networks.rectifier import DenoiserInput


@dataclass(frozen=True)
class DiffRectOptions:
    """Settings of DiffRect. The defaults are preset `default`; see `presets`."""

    rectify_from: int | None = None
    """First iteration with the third update, which learns from rectified pseudo-labels; None =
    after `rectify_share` of the training."""
    rectify_share: float = 1 / 3
    """Share of the training before the third update begins, if `rectify_from` does not say."""
    rectify_after: bool = False
    """Whether the third update begins one iteration after `rectify_from`, as the authors' does."""
    rectifier: Literal["slice", "volume", "components", "identity"] = "volume"
    """What corrects pseudo-labels: `slice`, the rectifier as published, which sees single slices;
    `volume`, one that sees the slice's volume; or a control without a network that learns from the
    same losses: `components`, which removes the smaller 3-D parts of a class, see `largest_part`,
    or `identity`, which corrects nothing."""
    consistency_target: Literal["teacher", "rectified"] = "rectified"
    """What the first update teaches on unlabelled rows once labels are rectified."""
    neighbours: int = 1
    """Slices on either side that `rectifier=volume` sees."""
    relabel_from: float = 1 / 6
    """Share of the training before the teacher first labels all volumes, with `rectifier` = volume,
    which then begins to learn, or components."""
    relabel_share: float = 1 / 6
    """Share of the training after which the teacher labels all volumes anew."""
    diffusion_from: float = 0.5
    """Share of the training before the diffusion of `rectifier=volume` corrects labels. Until then
    only smaller parts are removed, see `largest_part`: a rectifier that has just begun to learn
    makes labels worse."""
    given_guidance: float = 0.7
    """Calibration guidance that `rectifier=volume` is given when it corrects."""
    decoded_share: float = 0.25
    """Share of the rectified label, decoded from the sampled latent, in a label that
    `rectifier=volume` corrects; the rest is the teacher's. The logarithms of their probabilities
    are averaged, a product of two experts."""
    correction_weight: float = 0.0
    """Weight of the difference between the labels decoded from the sampled latent and from the
    teacher's own, which is added to the logarithm of the teacher's probabilities."""
    largest_part: LargestPart = "auto"
    """Whether `rectifier` = volume or components removes the smaller 3-D parts of a class: of every
    class, of none, or, with auto, of those whose largest part holds at least 95 % of their voxels
    in every labelled volume. Lungs, lesions and teeth then stay whole."""
    least_part: float = 0.5
    """Parts of a class that are at least this share of its largest one in a volume stay; 1 = only
    the largest. Of two large parts, the larger one is often the wrong one."""
    joined_foreground: LargestPart = "auto"
    """Whether `rectifier` = volume or components keeps only one connected 3-D part of all classes
    together, the one that holds most of them: always, never, or, with auto, if that part holds at
    least 95 % of the foreground of every labelled volume, as in a heart. It removes large errors
    far away, which `largest_part` may take for the class itself."""
    confidence: float = 0.0
    """A pixel is unsure if its best class is not this far above its worst, (max - min) / max."""
    unsure_pixels: Literal["ignore", "background"] = "ignore"
    """Whether unsure pixels of a pseudo-label count in no loss or are taught as background."""
    pseudo_label_loss: Literal["cross_entropy", "cross_entropy_dice"] = "cross_entropy"
    """Loss against pseudo-labels, in all three updates. The Dice loss rewards calling an uncertain
    pixel foreground; on its own pseudo-labels the network then enlarges every structure from pass
    to pass."""
    guidance: Literal["row", "batch", "none"] = "row"
    """Calibration guidance: one value per slice, one per batch, or always 0 (ablation)."""
    colouring: bool = True
    """Whether label maps enter the rectifier coloured; false = as grey levels (ablation)."""
    two_classes: TwoClasses = "black_red"
    """Colours of the label maps where there are only two classes; the authors' are black and
    white. For more classes both are the same."""
    rectifier_image: bool = True
    """Whether the rectifier sees the image beside the label map; false = black (ablation)."""
    coarse_to_fine: bool = True
    """Whether the rectifier learns the transport from strong to weak view; false = ablation."""
    fine_to_precise: bool = True
    """Whether the rectifier learns the transport from weak view to ground truth; false =
    ablation."""
    rectification: bool = True
    """Whether there is a second and a third update; false = only the first (ablation)."""
    denoiser_input: DenoiserInput = "sum"
    """What the denoiser sees: the sum of condition and noisy latent, or only the noisy latent."""
    clamp_latent: bool = False
    """Whether the predicted clean latent is limited to [-1, 1] while sampling."""
    diffusion_steps: int = 10
    """T, the length of the noise schedule."""
    sample_steps: int = 2
    """DDIM steps taken when rectifying, at most `diffusion_steps`."""
    rectifier_interval: int = 4
    """Iterations from one update of the rectifier to the next."""
    rectification_update: Literal["joint", "separate"] = "joint"
    """Whether the loss on rectified pseudo-labels joins the first update, whose forward pass it
    shares, or takes a forward pass and an optimiser step of its own, after the rectifier's."""
    sampling_mode: Literal["eval", "train"] = "eval"
    """Mode of the rectifier when it rectifies: without dropout and with running batch statistics,
    or as in training."""
    rectifier_decay: bool = True
    """Whether the rectifier's learning rate decays as the segmenter's does."""
    forward: Literal["joint", "separate"] = "joint"
    """Whether the first update forwards both views in one pass, with shared batch statistics, or
    one after the other."""
    labelled_views: Literal["both", "weak"] = "both"
    """Views of the labelled slices that the segmenter learns from."""
    second_view: bool = False
    """Whether unlabelled rows are also learned in a second, independent strong view, as UniMatch
    does; the losses of both views are averaged."""
    transports: Literal["joint", "separate"] = "joint"
    """Whether the second update trains each transport on its own rows, in one pass, or both on all
    rows, one after the other; coarse to fine then aims at the rectified weak view."""
    complementary: bool = False
    """Whether the complementary loss of the two views is added to the consistency losses; to the
    rectifier's only with separate transports, where both views are rectified."""
    teacher_decay: float = 0.99
    """Decay of the moving average of the segmenter that makes the pseudo-labels, in eval mode;
    0 = they come from the segmenter's own forward pass in training mode."""
    teacher_statistics: Literal["student", "own"] = "own"
    """Statistics of batch norm in the moving average: the segmenter's, averaged, though most of its
    rows are labelled or strong views; or those of the unlabelled weak rows that it labels."""
    consistency_weight: float = 1.0
    """Largest weight of the losses on pseudo-labels, to which it rises over `ramp_share`."""
    ramp_stairs: int = 200
    """Number of stairs in which the weight of the losses on pseudo-labels rises."""
    ramp_share: float = 0.3
    """Share of the training over which the weight of the losses on pseudo-labels rises."""
    ramp_least: int = 450
    """Fewest iterations over which the weight of the losses on pseudo-labels rises, if the training
    has as many; in a short training the teacher's pseudo-labels are of no use earlier."""
    rectification_weight: float = 1.0
    """Weight of the third update's loss."""
    rectification_ramp: bool = True
    """Whether that weight rises as the weight of the losses on pseudo-labels does."""
    rectification_view: Literal["strong", "weak"] = "strong"
    """View of the slices that the third update trains the segmenter on."""
    rectification_labelled: bool = True
    """Whether the third update also learns the labels of the labelled rows it forwards."""

    def __post_init__(self) -> None:
        if self.rectify_from is not None:
            at_least("rectify_from", self.rectify_from, 0)
        for name in ("confidence", "teacher_decay", "ramp_share", "rectify_share"):
            within(name, getattr(self, name), 0, 1)
        for name in ("consistency_weight", "rectification_weight"):
            within(name, getattr(self, name), 0, 1e6)
        if not (self.coarse_to_fine or self.fine_to_precise):
            raise InputError(
                "fine_to_precise",
                "true where coarse_to_fine is false",
                hint="without either transport there is nothing to train: rectification=false",
                setting="fine_to_precise",
            )
        if self.of_volumes:
            self._check_volumes()
        for name in (
            "relabel_from",
            "relabel_share",
            "given_guidance",
            "least_part",
            "diffusion_from",
            "decoded_share",
        ):
            within(name, getattr(self, name), 0, 1)
        within("correction_weight", self.correction_weight, 0, 1e6)
        at_least("neighbours", self.neighbours, 0, 64)
        at_least("rectifier_interval", self.rectifier_interval, 1)
        at_least("ramp_stairs", self.ramp_stairs, 1)
        at_least("ramp_least", self.ramp_least, 0)
        at_least("diffusion_steps", self.diffusion_steps, 1, 10_000)
        within("sample_steps", self.sample_steps, 1, self.diffusion_steps)

    def _check_volumes(self) -> None:
        """Refuse what the correction of whole volumes cannot do, or would silently ignore."""
        chosen = f"rectifier={self.rectifier}"
        if not self.teacher_decay:
            expected = f"above 0 with {chosen}, which corrects the moving average's labels"
            raise InputError("teacher_decay", expected, got=0, setting="teacher_decay")
        if self.rectifier == "components" and not self.removes_parts:
            expected = f"auto or true with {chosen}, which does nothing else"
            raise InputError("largest_part", expected, got="false", setting="largest_part")

    @property
    def removes_parts(self) -> bool:
        """Whether labels may lose connected parts, where the labelled volumes allow it."""
        return bool(self.largest_part or self.joined_foreground)

    @property
    def of_volumes(self) -> bool:
        """Whether pseudo-labels are corrected in whole volumes."""
        return self.rectification and self.rectifier in ("volume", "components")

    @property
    def correcting_guidance(self) -> float:
        """Calibration guidance at which `rectifier=volume` corrects."""
        return 0.0 if self.guidance == "none" else self.given_guidance

    @property
    def learns_rectifier(self) -> bool:
        """Whether there is a second update, which trains the rectifier."""
        return self.rectification and self.rectifier in ("slice", "volume")

    def start(self, iterations: int) -> int:
        """Return the first of a training's `iterations` that learns rectified pseudo-labels."""
        start = self.rectify_from
        if start is None:
            start = int(iterations * self.rectify_share + 1e-9)  # 1/30 of 30,000 are 1,000
        return start + self.rectify_after

    def weight(self, step: int, iterations: int) -> float:
        """Return the weight of the losses on pseudo-labels in iteration `step` of `iterations`."""
        return self.consistency_weight * self.ramp(step, iterations)

    def rectified_weight(self, step: int, iterations: int) -> float:
        """Return the weight of the losses on rectified pseudo-labels in iteration `step`."""
        ramp = self.ramp(step, iterations) if self.rectification_ramp else 1.0
        return self.rectification_weight * ramp

    def ramp(self, step: int, iterations: int) -> float:
        """Return the share of its largest weight that pseudo-labels have in iteration `step`."""
        return consistency_ramp(step, self.rise(iterations), self.ramp_stairs)

    def rise(self, iterations: int) -> int:
        """Return after how many of a training's `iterations` pseudo-labels have full weight."""
        return max(1, round(self.ramp_share * iterations), min(self.ramp_least, iterations))


REFERENCE: Mapping[str, Any] = {
    "rectifier": "slice",
    "rectify_share": 1 / 30,
    "rectify_after": True,
    "consistency_target": "teacher",
    "two_classes": "black_white",
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
    "rectification_ramp": False,
    "sampling_mode": "train",
    "rectifier_decay": False,
    "teacher_decay": 0.0,
    "teacher_statistics": "student",
}
