"""Measure on hidden labels whether a training's rectifier rectifies its pseudo-labels.

    python benchmarks/rectifier_probe.py RUN STORE [--every 7] [--start 0] [--decoded 0.5]

The labels of unlabelled training patients, which training has not seen, judge: Dice of the
teacher's labels and of the rectified ones, their difference D, how many pixels became right and
wrong, and the effect O of the latent: Dice with the latent of the true label in place of the
rectified one, minus Dice with zeros there. Without a network there is no O. Validation patients are
never used, so settings may be chosen by these numbers: choose on some patients and report others
(--start).

Dice is pooled over the slices of a patient, at the resolution of the network and without random
geometry. Intervals are 95 % bootstraps over patients.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffrect.config import TrainConfig
from diffrect.data.packed import Packed
from diffrect.data.record import SliceIndex
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.data.volumes import TrainingVolumes, training_volumes
from diffrect.errors import InputError
from diffrect.imaging.label_codes import IGNORED
from diffrect.imaging.resample import to_network
from diffrect.inference.load import load_method
from diffrect.methods.diffrect.make import make_volume_labels
from diffrect.methods.diffrect.method import DiffRect
from diffrect.methods.diffrect.volume_labels import AT_ONCE, VolumeLabels, channels_last
from diffrect.methods.registry import resolve
from diffrect.networks.calibration import calibration_guidance
from diffrect.networks.latent_rectifier import LatentRectifier
from diffrect.networks.unet import pad_to_multiple

REMOVED = ", parts removed"  # by largest_part and joined_foreground, as the training does
TEACHER, PARTS = "pseudo-label", f"pseudo-label{REMOVED}"
TRUTH, ZEROS = "latent of the truth", "latent of zeros"
NOISE_SEED = 0


def main() -> None:
    """Read the arguments and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--checkpoint", default="last", choices=("last", "best"))
    parser.add_argument("--every", type=int, default=7, help="every n-th unlabelled patient ...")
    parser.add_argument("--start", type=int, default=0, help="... beginning with this one, from 0")
    parser.add_argument(
        "--guidance", type=float, nargs="*", default=[], help="of rectifier=volume, beside its own"
    )
    parser.add_argument(
        "--decoded", type=float, nargs="*", default=[], help="decoded shares, beside its own"
    )
    arguments = parser.parse_args()
    try:
        for line in probe(**vars(arguments)):
            print(line, flush=True)
    except InputError as error:
        parser.error(str(error))


def probe(
    run: Path,
    store: Path,
    checkpoint: str,
    every: int,
    start: int,
    guidance: Sequence[float] = (),
    decoded: Sequence[float] = (),
) -> Iterator[str]:
    """Yield the lines of the table.

    Args:
        run: the RUN folder of a DiffRect.
        store: the store that it was trained on, with the labels of its unlabelled patients.
        checkpoint: "last" or "best".
        every: every n-th unlabelled training patient judges,
        start: beginning with this one, from 0.
        guidance: calibration guidances to try beside the run's own, with `rectifier` = volume.
        decoded: shares of the decoded label to try beside the run's own, likewise.

    Raises:
        InputError: the run is of another method, or no patient has hidden labels.
    """
    subject = read_subject(run, Store(store), checkpoint, every, start)
    torch.manual_seed(NOISE_SEED)
    with torch.inference_mode(), subject.autocast():
        labels = dict(subject.labels(guidance, decoded))
    chosen = np.unique(subject.patients)
    yield (
        f"{run}: {checkpoint} checkpoint, {subject.step} iterations, rectifier="
        f"{subject.method.options.rectifier}; {len(chosen)} unlabelled patients, "
        f"{len(subject.rows)} slices; classes: {', '.join(subject.classes[1:])}"
    )
    before = subject.scores(labels[TEACHER])
    for name, found in labels.items():
        after = subject.scores(found)
        line = f"{name:44} {after.mean():6.2f}   {' '.join(f'{x:5.1f}' for x in after.mean(0))}"
        if name != TEACHER:
            right, wrong = subject.changes(labels[TEACHER], found)
            difference = interval(after.mean(1) - before.mean(1))
            line += f"   D {difference}   changed: {right:,} right, {wrong:,} wrong"
        yield line
    after = subject.scores(labels[subject.corrected])
    yield f"D of this training ({subject.corrected}): {interval(after.mean(1) - before.mean(1))}"
    if TRUTH in labels:
        truth, zeros = (subject.scores(labels[name]).mean(1) for name in (TRUTH, ZEROS))
        yield f"O: {interval(truth - zeros)}"


@dataclass(frozen=True)
class Subject:
    """A trained method and the slices that judge it.

    Attributes:
        method: the method, in eval mode.
        config: its configuration.
        step: iterations it has seen.
        classes: names of the classes, background first.
        volumes: the volumes of the labelled patients and of those that judge.
        rows: the slices of those that judge, (N,).
        patients: the patient of each.
        truth: their hidden labels, (N, size, size) uint8.
    """

    method: DiffRect
    config: TrainConfig
    step: int
    classes: tuple[str, ...]
    volumes: TrainingVolumes
    rows: Tensor
    patients: np.ndarray
    truth: Tensor

    def autocast(self) -> AbstractContextManager[object]:
        """Return the number types of the training, for those that a CPU computes."""
        mixed = self.config.precision == "bf16-mixed"
        return torch.autocast("cpu", torch.bfloat16) if mixed else nullcontext()

    @property
    def corrected(self) -> str:
        """Name of the labels that this training learns from."""
        options = self.method.options
        parts = REMOVED if options.removes_parts else ""
        names = {"components": PARTS, "slice": "rectified"}
        of_own = how(options.correcting_guidance, options.decoded_share)
        names["volume"] = f"rectified, {of_own}{parts}"
        if self.step < options.diffusion_from * self.config.iterations:
            names["volume"] = (
                PARTS if options.removes_parts else TEACHER
            )  # not yet by the diffusion
        return names.get(options.rectifier, TEACHER)

    def labels(
        self, guidance: Sequence[float], decoded: Sequence[float]
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield names and class maps (N, size, size) of the slices that judge."""
        bank = make_volume_labels(len(self.classes), self.method.options)
        bank.attach(self.volumes)
        teacher = self.method.predictor
        bank.label_all(teacher, next(teacher.parameters()))
        yield TEACHER, bank.history[-1][self.rows]
        yield PARTS, bank.reduced(bank.history[-1])[self.rows]
        if self.method.options.learns_rectifier:
            volumes = isinstance(self.method.rectifier, LatentRectifier)
            found = self.of_volumes(bank, guidance, decoded) if volumes else self.of_slices(bank)
            whole: dict[str, Tensor] = {}
            for part, name, codes in found:
                maps = whole.setdefault(name, bank.history[-1].all())
                maps[part] = codes.byte()
            for name, maps in whole.items():
                yield name, maps[self.rows]
                if name.startswith("rectified"):
                    reduced = bank.reduced(Packed.of(maps))
                    yield f"{name}{REMOVED}", reduced[self.rows]

    def of_volumes(
        self, bank: VolumeLabels, others: Sequence[float], shares: Sequence[float]
    ) -> Iterator[tuple[Tensor, str, Tensor]]:
        """Yield rows, name and class maps (B, size, size) by the volume's rectifier."""
        rectifier, options = self.method.rectifier, self.method.options
        assert isinstance(rectifier, LatentRectifier)
        teacher = self.method.predictor
        like = next(teacher.parameters())
        for part in self.rows.split(min(AT_ONCE, bank.at_once)):
            own = bank.shares(part, teacher, like)
            around = bank.context(part)
            images = channels_last(around.images.flatten(1, 2).to(like))
            coarse = torch.cat([own[:, None].float(), around.labels], dim=1).to(like)
            maps = rectifier.encode_images(images)
            conditions = rectifier.encode(rectifier.colouring.mix(coarse))
            noise = torch.randn_like(conditions[0])
            right = rectifier.colouring(self.truth_of(part))[:, None].to(like)
            latents = {
                TRUTH: rectifier.encode(right)[0],
                ZEROS: torch.zeros_like(noise),
                "latent of the coarse label": conditions[0],
            }
            for value in dict.fromkeys([options.correcting_guidance, *others]):
                given = torch.tensor([value]).to(like)
                latent = rectifier.sample(maps, conditions, given, noise)
                for share in dict.fromkeys([options.decoded_share, *shares]):
                    logits = rectifier.correct(
                        coarse[:, 0], latent, conditions[0], maps, options.correction_weight, share
                    )
                    yield part, f"rectified, {how(value, share)}", logits.argmax(1)
                latents[f"latent of guidance {value:g}, decoded"] = latent
            for name, latent in latents.items():
                logits = rectifier.decode(latent, maps[:3], images.shape[-2:])
                yield part, name, logits.argmax(1)

    def of_slices(self, bank: VolumeLabels) -> Iterator[tuple[Tensor, str, Tensor]]:
        """Yield rows, name and class maps (B, size, size) by the rectifier of single slices."""
        rectifier = self.method.rectifier
        assert not isinstance(rectifier, LatentRectifier)
        like = next(rectifier.parameters())
        known = self.volumes.labelled
        rows = known.nonzero()[:, 0]
        taught, true = bank.history[-1][rows].long(), self.volumes.labels[rows].long()
        true = torch.where(true == IGNORED, taught, true)
        guidance = calibration_guidance(taught, true, len(self.classes), per_row=True).mean()[None]
        if self.method.options.guidance == "none":
            guidance = torch.zeros(1)
        for part in self.rows.split(AT_ONCE):
            images = self.volumes.images[part].to(like)
            coarse, size = bank.history[-1][part].long(), images.shape[-2:]
            noise = torch.randn(rectifier.latent_shape(images)).to(like)
            found = rectifier.rectify(images, coarse, guidance.to(like), noise)
            yield part, "rectified", found.argmax(1)

            seen = images if rectifier.sees_image else torch.zeros_like(images)
            embedding = rectifier.embed_guidance(guidance.to(like), len(images))
            image_maps = rectifier.image_encoder(pad_to_multiple(seen, 64), embedding)
            maps = rectifier.encode(seen, coarse, embedding, image_maps)
            right = rectifier.encode(seen, self.truth_of(part), embedding, image_maps)[-1]
            for name, latent in ((TRUTH, right), (ZEROS, torch.zeros_like(right))):
                logits = rectifier.decoder([*maps[:-1], latent], embedding)
                yield part, name, logits[..., : size[0], : size[1]].argmax(1)

    def truth_of(self, part: Tensor) -> Tensor:
        """Return the hidden class maps of some of the rows; background where nobody annotated."""
        truth = self.truth[torch.isin(self.rows, part)].long()
        return torch.where(truth == IGNORED, 0, truth)

    def scores(self, labels: Tensor) -> np.ndarray:
        """Return Dice in per cent, (patients, foreground classes), pooled over a patient's slices.

        A class that neither the labels nor the truth of a patient have counts as 100.
        """
        values = []
        known = (self.truth != IGNORED).numpy()
        for patient in np.unique(self.patients):
            here = self.patients == patient
            mine, right = (x[here][known[here]] for x in (labels.numpy(), self.truth.numpy()))
            row = []
            for code in range(1, len(self.classes)):
                a, b = mine == code, right == code
                sizes = a.sum() + b.sum()
                row.append(200 * (a & b).sum() / sizes if sizes else 100.0)
            values.append(row)
        return np.array(values)

    def changes(self, before: Tensor, after: Tensor) -> tuple[int, int]:
        """Return how many pixels became right and how many became wrong."""
        known = self.truth != IGNORED
        right = (before != after) & (after == self.truth) & known
        wrong = (before != after) & (before == self.truth) & known
        return int(right.sum()), int(wrong.sum())


def how(guidance: float, decoded: float) -> str:
    """Return how a label was corrected, in words."""
    share = f", decoded {decoded:g}" if decoded else ""
    return f"guidance {guidance:g}{share}"


def read_subject(run: Path, store: Store, checkpoint: str, every: int, start: int) -> Subject:
    """Read a run and the slices that judge it, see `probe`."""
    loaded = load_method(run, "best" if checkpoint == "best" else "last")
    method, config = loaded.method, loaded.config
    if not isinstance(method, DiffRect):
        raise InputError(run, "a training of diffrect", got=config.method)
    split = Split.from_json((run / "split.json").read_text("utf-8"))
    judged = {case.patient for case in store.cases.values() if case.labelled}
    chosen = set([p for p in split.unlabelled if p in judged][start::every])
    if not chosen:
        raise InputError(store.path, "labels of unlabelled training patients", found="none")
    shown = tuple(p for p in split.train if p in chosen or p in split.labelled)
    interpolation = resolve(config).view_options.interpolation
    volumes = training_volumes(store, replace(split, train=shown), config, interpolation)
    wanted = [index for index in volumes.rows if store.cases[index.case].patient in chosen]
    return Subject(
        method=method.eval(),
        config=config,
        step=loaded.step,
        classes=store.classes,
        volumes=volumes,
        rows=torch.tensor([volumes.rows[index] for index in wanted]),
        patients=np.array([store.cases[index.case].patient for index in wanted]),
        truth=hidden_labels(store, wanted, config),
    )


def hidden_labels(store: Store, slices: Sequence[SliceIndex], config: TrainConfig) -> Tensor:
    """Return labels (N, size, size) that training has not seen, as the network would see them."""
    labels = []
    for case, position in slices:
        codes = torch.from_numpy(store.label(case, position).astype(np.float32))[None, None]
        zoom = store.zoom(case, config.spacing)
        labels.append(to_network(codes, config.side, "nearest", zoom)[0, 0].byte())
    return torch.stack(labels)


def interval(differences: np.ndarray) -> str:
    """Return the mean and its 95 % bootstrap interval over patients, as text."""
    drawn = np.random.default_rng(0).choice(differences, (4000, len(differences))).mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{differences.mean():+.2f} [{low:+.2f}, {high:+.2f}]"


if __name__ == "__main__":
    main()
