"""The training methods, one file each; `docs/reference/methods.md` compares them.

`base` defines what a method is, `registry` finds one by its name, `losses` and `consistency` hold
what several share. The words of the field that all of them use:

weak view, strong view
    A slice after a change of geometry only, and the same with changed intensities (and boxes of
    other slices pasted in): `diffrect.data.views`.
labelled rows, unlabelled rows
    The slices of a batch with and without ground truth; labelled ones come first.
pseudo-label
    A class map that a network predicts and that then serves as the label of an unlabelled row.
teacher
    A network whose parameters are a moving average of the segmenter's and learn nothing themselves.
consistency
    A loss that asks two predictions of one slice to agree, such as those of its two views.
ramp
    The rise of the weight of losses on unlabelled rows in the first part of a training.

And those of DiffRect:

segmenter, rectifier
    The network that predicts, and the one that corrects its class maps in training.
transport
    What the rectifier learns: to move a class map towards a better one of the same slice.
guidance
    How far a class map has to be moved, a number from 0 to 1 (calibration guidance).
latent
    The deepest feature maps of a class map, in which the diffusion takes place.
"""
