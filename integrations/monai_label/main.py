"""MONAI Label app: a model of diffrect segments, and says which scan to annotate next.

It is started by `monailabel start_server --app integrations/monai_label --studies SCANS --conf run
RUN`, and `--conf store STORE` for the order of scans.
"""

from lib.next_scan import ExpectedGain
from lib.segment import Segmentation
from lib.settings import Settings, refusing
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.exception import MONAILabelError

from diffrect.version import package_version


class DiffRectApp(MONAILabelApp):
    """A server of MONAI Label with one model, `diffrect`, and the strategy `expected_gain`."""

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        """Load the model.

        Args:
            app_dir: this folder.
            studies: folder of the scans, or the address of a DICOMweb server.
            conf: what `--conf` gave, see `Settings`.
        """
        with refusing(MONAILabelError.APP_INIT_ERROR):
            self.settings = Settings.from_conf(conf)
            self.segmentation = Segmentation(self.settings)
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name="DiffRect",
            description="Segmentation by a model of diffrect, and what to annotate next",
            version=package_version(),
        )

    def init_infers(self) -> dict[str, Segmentation]:
        """Return the models by name."""
        return {"diffrect": self.segmentation}

    def init_strategies(self) -> dict[str, object]:
        """Return what chooses the next scan, by name; ours only if there is a store to rank."""
        ours = {"expected_gain": ExpectedGain(self.settings)} if self.settings.store else {}
        return ours | super().init_strategies()
