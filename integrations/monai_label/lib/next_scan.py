"""`diffrect rank` as a strategy of MONAI Label: which scan to annotate next."""

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.exception import MONAILabelError
from monailabel.interfaces.tasks.strategy import Strategy

import diffrect
from lib.settings import Settings, refusing

HELD_SECONDS = 3600
"""For so long, a scan that was handed out is another annotator's, and comes after the others."""


class ExpectedGain(Strategy):
    """Scans in the order in which `diffrect.rank` expects them to be worth annotating.

    A scan is the one of the store whose id it has; those that the store does not have come last.
    """

    def __init__(self, settings: Settings) -> None:
        """Keep what is to be ranked; that takes a while, so it is done when it is first asked."""
        super().__init__("Most expected gain first, by diffrect rank")
        self._settings = settings

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """Return the scan to annotate next, with its rank and why; None if all have labels.

        Args:
            request: `label_tag` and `labels` say which scans count as annotated.
            datastore: the scans.
        """
        waiting = datastore.get_unlabeled_images(request.get("label_tag"), request.get("labels"))
        if not waiting:
            return None
        first = min(waiting, key=lambda image: self._order(image, request, datastore))
        rank, reason = self._ranks.get(_case_of(first), (None, "not in the store"))
        return {"id": first, "weight": rank or 0, "rank": rank, "reason": reason}

    def _order(self, image: str, request: Mapping[str, Any], datastore: Datastore) -> Sequence[Any]:
        """Return what sorts scans: not handed out of late, then by rank, then by name."""
        handed = datastore.get_image_info(image).get("strategy", {})
        when = handed.get(request.get("strategy"), {}).get("ts", 0)
        rank, _ = self._ranks.get(_case_of(image), (None, ""))
        return time.time() - when < HELD_SECONDS, rank is None, rank or 0, image

    @cached_property
    def _ranks(self) -> dict[str, tuple[int, str]]:
        """Rank and reason of each case of the store that is to be annotated."""
        settings = self._settings
        with refusing(MONAILabelError.APP_ERROR):
            ranking = diffrect.rank(
                settings.run,
                settings.store,
                by=settings.by,
                checkpoint=settings.checkpoint,
                device=settings.device,
                progress=False,
            )
        return {
            case: (patient.rank, patient.reason)
            for patient in ranking.patients
            for case in patient.cases
        }


def _case_of(image: str) -> str:
    """Return the id that a scan has in a store: its name, without the number of its channel."""
    return image.rpartition("/")[2].removesuffix("_0000")
