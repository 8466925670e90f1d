"""Bad input by command, for test_bad_input: arguments, what the line must say, what to spoil."""

import shutil
from pathlib import Path

import numpy as np
import torch

from support.spoil import (
    BEST,
    H5,
    IMAGE,
    LABEL,
    LAST,
    PREVIOUS,
    change,
    change_checkpoint,
    cut,
    flip,
    half_prepared,
    make_folder,
    no_test_split,
    nothing,
    one_voxel,
    remove,
    rewrite_h5,
    write,
    write_header,
)
from support.tiny import scan, write_nifti

PREPARE = {
    "missing source": ("nowhere new", "nowhere: expected a folder .*, found nothing", nothing),
    "empty source": ("empty new", "empty: .* found an empty folder", make_folder("empty")),
    "source is a file": ("a.nii.gz new", "a.nii.gz: .* found a file", nothing),
    "unknown layout": ("odd new", "odd: expected the layout of .*", make_folder("odd", "a.txt")),
    "another layout": ("source new --format ssl4mis", "source: expected HDF5 .* none", nothing),
    "empty NIfTI": ("source new", f"{IMAGE}: .* found an empty file", write(IMAGE)),
    "truncated NIfTI": ("source new", f"{IMAGE}: .* seems truncated: .*", cut(IMAGE)),
    "text as NIfTI": ("source new", f"{IMAGE}: .* found no gzip file", write(IMAGE, "a\nb")),
    "no image file": ("source new", f"{IMAGE}: .* found no such file", remove(IMAGE)),
    "another shape": (
        "source new",
        rf"{LABEL}: expected .* \(20, 18, 4\), got \(20, 18, 3\)",
        change(LABEL, lambda labels: labels[:, :, :3]),
    ),
    "label outside the classes": (
        "source new",
        rf"{LABEL}: expected label codes 0 to 2 .*, found 3",
        change(LABEL, one_voxel(3, np.uint8)),
    ),
    "negative label": ("source new", f"{LABEL}: .* found -1", change(LABEL, one_voxel(-1))),
    "fraction as label": (
        "source new",
        f"{LABEL}: expected whole label codes, found 0.5",
        change(LABEL, one_voxel(0.5)),
    ),
    "NaN": ("source new", f"{IMAGE}: .* found NaN .*", change(IMAGE, one_voxel(np.nan))),
    "infinity": ("source new", f"{IMAGE}: .* or infinity", change(IMAGE, one_voxel(np.inf))),
    "constant image": (
        "source new",
        f"{IMAGE}: expected varying intensities: every voxel is 7",
        change(IMAGE, lambda image: 0 * image + 7),
    ),
    "two channels": (
        "source new",
        rf"{IMAGE}: expected 1 channel, got 2",
        change(IMAGE, lambda image: np.stack([image, image], axis=-1)),
    ),
    "truncated HDF5": ("h5 new", rf"{H5}: expected HDF5 .*truncated.*", cut(H5)),
    "text as HDF5": ("h5 new", f"{H5}: expected HDF5 .*", write(H5, "text")),
    "HDF5 of another shape": ("h5 new", rf"{H5}: .* got \(2, 22, 26\)", rewrite_h5(slices=2)),
    "HDF5 label outside": (
        "h5 new --classes names.csv",
        f"{H5}: .* 0 to 3 .*, found 9",
        lambda: (rewrite_h5(code=9)(), write("names.csv", "code,name\n1,a\n2,b\n3,c\n")()),
    ),
    "HDF5 with NaN": ("h5 new", f"{H5}: .* found NaN .*", rewrite_h5(value=np.nan)),
    "HDF5 not scaled": ("h5 new", f"{H5}: .* found 0.* to 9", rewrite_h5(value=9)),
    "no workers": ("source new --workers 0", "--workers: expected at least 1, got 0", nothing),
    "a store": ("source store", r".*store: .* found a store \(give --overwrite\)", nothing),
    "half a store": ("source store", r".*store: .* \(give --resume\)", half_prepared),
    "half a store that is damaged": (
        "source store --resume",
        r".*store/prepare\.json: expected the settings .* start again with --overwrite",
        lambda: (half_prepared(), write("store/prepare.json", "{")()),
    ),
    "another folder": ("source h5 --overwrite", ".*h5: .* found something else", nothing),
    "another file": ("source a.nii.gz --overwrite", ".*a.nii.gz: .* found a file", nothing),
    "below a file": ("source a.nii.gz/new", ".*a.nii.gz.*: Not a directory", nothing),
    "bad replacement": ("source store --overwrite", f"{IMAGE}: .*", cut(IMAGE)),
    "two minds": ("source new --resume --overwrite", ".* expected one of them, got 2", nothing),
    "nothing to repair": (
        "source new --repair",
        ".*new: --repair expected a finished store, found no store.json",
        nothing,
    ),
    "a repair from elsewhere": (
        "source store --repair",
        ".*store: --repair expected a source with the format acdc, got decathlon",
        nothing,
    ),
}

ARRAY = "store/cases/patient099_frame01/image.b2nd"
TRAIN = {
    "missing store": ("nowhere new", "nowhere: expected a store .* no store.json", nothing),
    "not a store": ("h5 new", "h5: expected a store made by prepare, .*", nothing),
    "half a store": ("store new", "store: expected a finished store, .*", half_prepared),
    "a damaged store": ("store new", "store/store.json: expected .*", cut("store/store.json")),
    "a flipped bit in store.json": (
        "store new",
        "store/store.json: expected the contents .*, they have changed; mend it with: .* --repair",
        flip("store/store.json"),
    ),
    "a store without cases": (
        "store new",
        "store/store.json: expected a value under 'format', found none",
        write("store/store.json", '{"version": 1}'),
    ),
    "a damaged array": (  # which shows once it is read, after the lines about the training
        "store new --quiet",
        f"{ARRAY}: expected the contents written by prepare, .* --repair",
        cut(ARRAY),
    ),
    "a run": ("store run", "run: exists already; expected --resume or --overwrite", nothing),
    "a folder that is no run": (
        "store mine --overwrite",
        "mine: expected a new folder or a run, found one that holds thesis.tex",
        make_folder("mine", "thesis.tex"),
    ),
    "no run to resume": (
        "store mine --resume",
        "mine: expected a new folder or a run, found one that holds thesis.tex",
        make_folder("mine", "thesis.tex"),
    ),
    "the store as run": ("store store --overwrite", "store: .* holds cases", nothing),
    "a file as run": ("store a.nii.gz", "a.nii.gz: expected a folder to make, .* file", nothing),
    "below a file": ("store a.nii.gz/new", "a.nii.gz.*: Not a directory", nothing),
    "two minds": ("store run --resume --overwrite", ".* expected one of them, got both", nothing),
    "another size": (
        "store run --resume --size 64",
        "run: --resume expected size 32 .*, got 64",
        nothing,
    ),
    "another store": ("other run --resume", "run/.*: --resume expected classes .*", nothing),
    "a damaged checkpoint to go on from": (
        "store run --resume",
        f"{LAST}: expected a checkpoint .* damaged.*",
        lambda: (cut(LAST)(), shutil.copy(LAST, PREVIOUS)),
    ),
    "only a model to go on from": (
        "store run --resume",
        f"{BEST}: expected the checkpoint of a training, found a model, .* --overwrite .*",
        lambda: (remove(LAST)(), PREVIOUS.unlink(missing_ok=True)),
    ),
    "a checkpoint without optimisers": (
        "store run --resume",
        f"{LAST}: expected a value under 'optimizers', found none",
        change_checkpoint(LAST, without="optimizers"),
    ),
    "no configuration": (
        "store run --resume",
        "run/config.yaml: expected a readable YAML file, found no such file",
        remove("run/config.yaml"),
    ),
    "too many labelled": (
        "store new --labelled 4",
        "--labelled: expected at most the 3 training patients with labels, got 4",
        nothing,
    ),
    "none labelled": ("store new --labelled 0", "--labelled: expected at least 1 .* 0", nothing),
    "too large a share": ("store new --labelled 101%", "--labelled: .*, got 101%", nothing),
    "no list of labelled": ("store new --labelled no.txt", "--labelled: .*, got no.txt", nothing),
    "unknown labelled": (
        "store new --labelled ids.txt",
        "--labelled ids.txt: expected patients of the store, got nobody",
        write("ids.txt", "patient099\nnobody\n"),
    ),
    "labelled of validation": (
        "store new --labelled ids.txt",
        "--labelled ids.txt: expected training patients, got patient028",
        write("ids.txt", "patient028"),
    ),
    "no split file": ("store new --split-file no.json", "no.json: .* no such file", nothing),
    "a patient twice": (
        "store new --split-file s.json",
        "s.json: expected each patient once, got patient099 under 'train' and 'val'",
        write("s.json", '{"train": ["patient099"], "val": ["patient099"]}'),
    ),
    "no unlabelled": (
        "store new --method diffrect --labelled 3",
        "--method diffrect: expected unlabelled training patients, found labels of all 3; .*",
        nothing,
    ),
    "unknown method": ("store new --method best", "--method best: expected one of .*", nothing),
    "unknown option": ("store new --option x=1", "--option x: expected one of .*", nothing),
    "option without value": ("store new --option x", "--option x: expected NAME=VALUE", nothing),
    "option of another kind": (
        "store new --option blur-sigma=much",
        "--option blur_sigma: expected a number, got 'much'",
        nothing,
    ),
    "option out of range": (
        "store new --option cutmix_probability=2",
        "--option cutmix_probability: expected a number from 0 to 1, got 2",
        nothing,
    ),
    "half precision": (
        "store new --precision 16-mixed",
        "--precision 16-mixed: expected a GPU, .* give 32-true or bf16-mixed",
        nothing,
    ),
    "unknown precision": ("store new --precision half", "--precision: .*, got 'half'; .*", nothing),
    "no devices": ("store new --devices 0", "--devices: expected at least 1, got 0", nothing),
    "too many devices": ("store new --devices 999", "--devices: .* processors .* 999", nothing),
    "no size": ("store new --size 0", "--size: expected at least 2, got 0", nothing),
    "no iterations": ("store new --iterations 0", "--iterations: .* at least 1, got 0", nothing),
    "a fraction of a seed": ("store new --seed 1.5", "--seed: .* whole number, .*", nothing),
    "missing YAML": ("store new --config c.yaml", "c.yaml: expected a readable YAML .*", nothing),
    "broken YAML": ("store new --config c.yaml", "c.yaml: .*", write("c.yaml", "size: [\n")),
    "unknown name in YAML": (
        "store new --config c.yaml",
        "c.yaml: unknown option sizes; expected one of .*",
        write("c.yaml", "sizes: 64"),
    ),
    "wrong kind in YAML": (
        "store new --config c.yaml",
        "c.yaml: size: expected a whole number, got 'large'",
        write("c.yaml", "size: large"),
    ),
    "wrong value in YAML": (
        "store new --config c.yaml",
        "c.yaml: devices: expected at least 1, got 0",
        write("c.yaml", "devices: 0"),
    ),
    "an option in YAML": (
        "store new --config c.yaml",
        "c.yaml: cutmix_probability: expected a number from 0 to 1, got 2",
        write("c.yaml", "options: {cutmix_probability: 2}"),
    ),
    "an option of the command over one in YAML": (
        "store new --config c.yaml --option cutmix_probability=3",
        "--option cutmix_probability: expected a number from 0 to 1, got 3",
        write("c.yaml", "options: {cutmix_probability: 2}"),
    ),
    "labelled patients in YAML": (
        "store new --config c.yaml",
        "c.yaml: labelled: expected at most the 3 training patients .*, got 9",
        write("c.yaml", "labelled: 9"),
    ),
}

EVALUATE = {
    "no run": ("nowhere", "nowhere/checkpoints/best.pt: expected .* no such file", nothing),
    "a folder that is no run": ("h5", "h5/checkpoints/best.pt: .* no such file", nothing),
    "text as checkpoint": ("run", f"{BEST}: expected a checkpoint .*", write(BEST, "text")),
    "truncated checkpoint": ("run", f"{BEST}: expected a checkpoint .* damaged.*", cut(BEST)),
    "another checkpoint": (
        "run",
        f"{BEST}: expected a diffrect checkpoint, it lacks its entries",
        lambda: torch.save({"state_dict": {}}, BEST),
    ),
    "a newer checkpoint": (
        "run",
        f"{BEST}: .* format 2 or 1, got 9; .*",
        change_checkpoint(BEST, format=9),
    ),
    "a checkpoint of nothing": (
        "run",
        f"{BEST}: expected what a training remembers: .*",
        change_checkpoint(BEST, config={"sizes": 3}),
    ),
    "weights of something else": (
        "run",
        f"{BEST}: expected a network of 2 channels, as its task, found 1",
        change_checkpoint(BEST, task={"channels": 2, "classes": ["a", "b"], "intensity": "minmax"}),
    ),
    "no test patients": ("run --split test", "--split test: expected patients .*", no_test_split),
    "damaged split": ("run", "run/split.json: expected .*", cut("run/split.json")),
    "the store gone": (
        "run",
        "run: expected the store it was trained on, gone is not there; give --store",
        write("run/store.txt", "gone\n"),
    ),
    "no store": ("run --store no", "no: expected a store made by prepare, .*", nothing),
    "another store": ("run --store other", "other: expected the classes of run, .*", nothing),
    "no such device": (
        "run --device tpu9",
        "--device: expected auto, cpu, cuda, .* or mps, got 'tpu9'",
        nothing,
    ),
}

FINE = scan((20, 20, 2), 4, seed=1)[0]
PREDICT = {
    "no run": ("nowhere out a.nii.gz", "nowhere/checkpoints/best.pt: .* no such file", nothing),
    "no image": ("run out no.nii", "no.nii: expected an image file .*, found neither", nothing),
    "a folder without images": ("run out no", "no: .* in it, found none", make_folder("no")),
    "no name of an image": (
        "run out b.txt",
        r"b.txt: expected an image by its name \(NIfTI, .*\)",
        write("b.txt"),
    ),
    "text as image": ("run out a.nii.gz", "a.nii.gz: .* gzip file", write("a.nii.gz", "text")),
    "an unknown number type": (
        "run out a.nii",
        "a.nii: expected a readable NIfTI file: .*999.*",
        write_header({"datatype": 999}),
    ),
    "an endless image": (
        "run out a.nii",
        r"a.nii: .* truncated: its header says \(30000, 30000, 30000\), the file has 3552 bytes",
        write_header({"dim": (3, 30000, 30000, 30000, 1, 1, 1, 1)}),
    ),
    "truncated image": ("run out a.nii.gz", "a.nii.gz: .* truncated: .*", cut("a.nii.gz")),
    "wrong channel count": (
        "run out a.nii.gz",
        r"a.nii.gz: expected 1 channel, got 2",
        lambda: write_nifti(Path("a.nii.gz"), np.stack([FINE, FINE], axis=-1)),
    ),
    "constant image": (
        "run out a.nii.gz",
        "a.nii.gz: expected varying intensities: every voxel is 0",
        lambda: write_nifti(Path("a.nii.gz"), 0 * FINE),
    ),
    "NaN": (
        "run out a.nii.gz",
        "a.nii.gz: expected finite intensities, found NaN or infinity",
        lambda: write_nifti(Path("a.nii.gz"), one_voxel(np.nan)(FINE)),
    ),
    "labels that exist": (
        "run out a.nii.gz",
        "out/a.nii.gz: exists already; --overwrite replaces it",
        make_folder("out", "a.nii.gz"),
    ),
    "over the image": ("run . a.nii.gz", r"\.: expected another folder .*", nothing),
    "a file as folder": ("run a.nii.gz a.nii.gz", "a.nii.gz: .*, found a file", nothing),
    "below a file": ("run a.nii.gz/out a.nii.gz", "a.nii.gz/out.*: Not a directory", nothing),
    "no GPU": (
        "run out a.nii.gz --device cuda",
        "--device cuda: expected what this machine has, found .*; give --device cpu",
        nothing,
    ),
}

DEMO = {
    "another folder": (
        "mine --overwrite",
        "mine: expected nothing but an earlier demo to replace, got thesis.tex",
        make_folder("mine", "thesis.tex"),
    ),
    "a file": ("a.nii.gz", "a.nii.gz: expected a folder to make, found a file", nothing),
}
