"""Hostile files, one after another: pipes, links, huge claims, names that steer, ways outside."""

import gzip
import json
import os
import random
import shutil
import socket
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from attack_fixtures import OPTIONS, TRAINING, Fixtures, copy_tree
from attack_inputs import Attempt, Read, arguments, command, prepared, write_files
from diffrect.cli.inspect import Inspect
from diffrect.cli.predict import Predict
from diffrect.cli.train import Train
from diffrect.data.integrity import write_sealed
from diffrect.data.source_options import SourceOptions

Make = Callable[[Fixtures, Path], Attempt]


# ---- things that are no files of the expected kind --------------------------------------------


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**42)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # names of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)


def _link(target: str, path: Path) -> None:
    path.symlink_to(target)


THINGS: dict[str, Callable[[Path], Any]] = {
    "a pipe": os.mkfifo,
    "a socket": _socket,
    "a folder": Path.mkdir,
    "a link to nothing": partial(_link, "nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to /dev/zero": partial(_link, "/dev/zero"),
    "a link to /dev/null": partial(_link, "/dev/null"),
    "a link to /dev/stdin": partial(_link, "/dev/stdin"),
    "an empty file": Path.touch,
    "a byte": lambda path: path.write_bytes(b"\x1f"),
    "4 TiB of zeros": _sparse,
    "noise": lambda path: path.write_bytes(random.Random(0).randbytes(2**16)),
    "deep brackets": lambda path: path.write_bytes(b"[" * 200_000),
    "a line without end": lambda path: path.write_bytes(b"a" * 2**20),
    "line breaks": lambda path: path.write_bytes(b"\r\n" * 2**16),
    "bytes that are no text": lambda path: path.write_bytes(b"\xff\xfe" * 100),
}


def put(thing: str, path: Path) -> None:
    """Put a thing in the place of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or path.exists():
        path.unlink()
    THINGS[thing](path)


def as_scan(name: str, fixtures: Fixtures, place: Path, thing: str) -> Attempt:
    """Predict a thing that is called like a scan."""
    put(thing, place / "in" / name)
    path = Path("in") / name
    return Attempt(f"{thing} as {name}", command(_predict(fixtures, path)))


def as_slice(fixtures: Fixtures, place: Path, thing: str) -> Attempt:
    """Predict a series in which a thing is one of the slices."""
    write_files(place / "in", fixtures.scans["series"])
    put(thing, sorted((place / "in" / "series").iterdir())[1])
    return Attempt(f"{thing} as a slice", command(_predict(fixtures, Path("in/series"))))


def in_data_set(layout: str, name: str, fixtures: Fixtures, place: Path, thing: str) -> Attempt:
    """Prepare a data set in which a thing has the name of a file."""
    put(thing, copy_tree(getattr(fixtures, layout), place / "in") / name)
    return prepared(Path("in"), layout, f"{thing} as {name}")


def as_table(name: str, fixtures: Fixtures, place: Path, thing: str) -> Attempt:
    """Prepare a folder whose table or names of classes are a thing."""
    _folder(fixtures, place / "in")
    put(thing, place / "in" / name)
    path = Path("in") / name
    options = SourceOptions(table=path) if "table" in name else SourceOptions(classes=path)
    return prepared(Path("in"), "folder", f"{thing} as {name}", options)


def as_setting(option: str, fixtures: Fixtures, place: Path, thing: str) -> Attempt:
    """Train or compare with a thing as the file of an option."""
    put(thing, place / "in" / "file.yaml")
    if option == "--variants":
        given = ["compare", str(fixtures.store), "out", *OPTIONS, "--dry-run"]
    else:
        given = ["train", str(fixtures.store), "out", *OPTIONS, "--quiet"]
    return Attempt(f"{thing} as {option}", arguments(*given, option, "in/file.yaml"))


def in_store(name: str, fixtures: Fixtures, place: Path, thing: str) -> Attempt:
    """Inspect or train on a store in which a thing has the name of a file."""
    store = copy_tree(fixtures.store, place / "in")
    put(thing, next(store.glob(name)))
    parsed: Any = Inspect(Path("in"), quiet=True)
    if "label" in name or "store" in name:
        parsed = Train(Path("in"), Path("out"), replace(TRAINING, labelled="2"), quiet=True)
    return Attempt(f"{thing} as {name} of a store", command(parsed))


def in_run(name: str, fixtures: Fixtures, place: Path, thing: str) -> Attempt:
    """Resume a run in which a thing has the name of a file."""
    run = copy_tree(fixtures.run, place / "out")
    shutil.copy(run / "checkpoints" / "previous.pt", run / "checkpoints" / "last.pt")
    put(thing, run / name)
    given = ["train", str(fixtures.store), "out", "--resume", "--quiet"]
    return Attempt(f"{thing} as {name} of a run", arguments(*given), kept=("out",))


def as_model(name: str, fixtures: Fixtures, place: Path, thing: str) -> Attempt:
    """Predict with a thing as the model."""
    put(thing, place / name)
    run = Path("in") if name.startswith("in/") else Path(name)
    parsed = Predict(run, Path("out"), (fixtures.scan,), device="cpu", quiet=True)
    return Attempt(f"{thing} as {name}", command(parsed))


def in_cells(fixtures: Fixtures, place: Path, thing: str) -> Attempt:
    """Make the tables of a folder in which a thing has the name of a cell's scores."""
    cells = copy_tree(fixtures.cells, place / "out")
    put(thing, sorted(cells.rglob("metrics_val.json"))[0])
    given = ["compare", "out", "--table", "--quiet"]
    return Attempt(f"{thing} as the scores of a cell", arguments(*given), kept=("out",))


def as_output(verb: str, fixtures: Fixtures, place: Path, thing: str) -> Attempt:
    """Write to a thing."""
    put(thing, place / "out")
    given = {
        "prepare": [str(fixtures.decathlon), "out", "--workers", "1", "--quiet"],
        "train": [str(fixtures.store), "out", *OPTIONS, "--quiet"],
        "predict": [str(fixtures.run), "out", str(fixtures.scan), "--device", "cpu", "--quiet"],
        "compare": [str(fixtures.store), "out", *OPTIONS, "--methods", "nonsense", "--quiet"],
        "demo": ["out", "--quiet"],
    }[verb]
    names = ("out", "nowhere") if thing == "a link to nothing" else ("out",)  # links are followed
    return Attempt(f"{thing} as what {verb} makes", arguments(verb, *given), names)


def _predict(fixtures: Fixtures, *paths: Path) -> Predict:
    return Predict(fixtures.run, Path("out"), paths, device="cpu", quiet=True)


def _folder(fixtures: Fixtures, folder: Path) -> None:
    for name, kind in (("images", "imagesTr"), ("labels", "labelsTr")):
        copy_tree(fixtures.decathlon / kind, folder / name)


SCAN_NAMES = (
    *(
        "a.nii",
        "a.nii.gz",
        "a.nrrd",
        "a.nhdr",
        "a.mha",
        "a.mhd",
        "a.png",
        "a.tif",
        "a.jpg",
        "a.dcm",
    ),
    *("a", "a.mgz", "a.seg.nrrd"),
)
IN_PLACE: tuple[Callable[[Fixtures, Path, str], Attempt], ...] = (
    *(partial(as_scan, name) for name in SCAN_NAMES),
    as_slice,
    partial(in_data_set, "decathlon", "dataset.json"),
    partial(in_data_set, "decathlon", "imagesTr/part_001.nii.gz"),
    partial(in_data_set, "decathlon", "labelsTr/part_001.nii.gz"),
    partial(in_data_set, "acdc", "patient011/Info.cfg"),
    partial(in_data_set, "ssl4mis", "val.list"),
    partial(in_data_set, "ssl4mis", "data/patient028_frame01.h5"),
    partial(as_table, "table.csv"),
    partial(as_table, "classes.yaml"),
    *(partial(as_setting, option) for option in ("--split-file", "--config", "--variants")),
    *(partial(in_store, name) for name in ("store.json", "cases/*/case.json")),
    *(partial(in_store, name) for name in ("cases/*/image.b2nd", "cases/*/label.b2nd")),
    *(partial(in_run, f"checkpoints/{name}.pt") for name in ("last", "best", "previous")),
    *(
        partial(in_run, name)
        for name in ("config.yaml", "split.json", "metrics.jsonl", "store.txt")
    ),
    partial(as_model, "in/checkpoints/best.pt"),
    partial(as_model, "model.onnx"),
    in_cells,
    *(partial(as_output, verb) for verb in ("prepare", "train", "predict", "compare", "demo")),
)


# ---- ways outside ------------------------------------------------------------------------------

RAW = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 5 5 5\nencoding: raw\n{}\n\n"
META = "ObjectType = Image\nNDims = 3\nBinaryData = True\nDimSize = 5 5 5\n"
META += "ElementType = MET_UCHAR\n{}\n"


def header(text: str, name: str, fixtures: Fixtures, place: Path) -> Attempt:
    """Predict a header that names voxels outside its folder."""
    text = text.replace("OUTSIDE", str(place.parent / "outside"))
    write_files(place / "in", {name: text.encode()})
    work = command(_predict(fixtures, Path("in") / name))
    return Attempt(f"outside, by {text.splitlines()[-2:]}", work)


_NRRD_WAYS = (
    *("data file: OUTSIDE/secret.raw", "data file: ../../outside/secret.raw"),
    *("datafile: ../../outside/secret.raw", "Data File: ../../outside/secret.raw"),
    *("data file: LIST\n../../outside/secret.raw", "data file: ./../../outside/secret.raw"),
    *("data file: LIST 2\nOUTSIDE/secret.raw", "data file: x.raw\ndata file: OUTSIDE/secret.raw"),
    *("data file: ../../outside/secret%1$s.raw 1 1 1", "DATAFILE: OUTSIDE/secret.raw"),
    *("data file:= OUTSIDE/secret.raw", "byte skip: -1\ndata file: OUTSIDE/secret.raw"),
)
_META_WAYS = (
    *("ElementDataFile = OUTSIDE/secret.raw", "ElementDataFile = ../../outside/secret.raw"),
    *("ElementDataFile = LIST\nOUTSIDE/secret.raw", "ElementDataFile = LISTX\nOUTSIDE/secret.raw"),
    *("ElementDataFile = LIST 2D\nOUTSIDE/secret.raw", "ElementDataFile: OUTSIDE/secret.raw"),
    "elementdatafile = LOCAL\nElementDataFile = OUTSIDE/secret.raw",
    "ElementDataFile = a.raw\nElementDataFile = OUTSIDE/secret.raw",
    "ElementDataFile = OUTSIDE/secret%s.raw 1 1 1",
    "ElementDataFile = ./../../outside/secret.raw",
    "ElementDataFile=OUTSIDE/secret.raw",
    " ElementDataFile =\tOUTSIDE/secret.raw",
)


def entry(path: str, key: str, fixtures: Fixtures, place: Path) -> Attempt:
    """Prepare a Decathlon whose dataset.json names a file outside."""
    source = copy_tree(fixtures.decathlon, place / "in")
    content = json.loads((source / "dataset.json").read_text())
    content["training"][1][key] = path.replace("OUTSIDE", str(place.parent / "outside"))
    (source / "dataset.json").write_text(json.dumps(content))
    return prepared(Path("in"), "decathlon", f"outside, by {key} {path}")


def listed(path: str, fixtures: Fixtures, place: Path) -> Attempt:
    """Prepare an SSL4MIS folder whose list names a file outside."""
    source = copy_tree(fixtures.ssl4mis, place / "in")
    with (source / "val.list").open("a") as file:
        file.write(path.replace("OUTSIDE", str(place.parent / "outside")) + "\n")
    return prepared(Path("in"), "ssl4mis", f"outside, by the list: {path}")


def hdf5(way: str, fixtures: Fixtures, place: Path) -> Attempt:
    """Prepare an SSL4MIS folder in which an HDF5 file reads from another file."""
    source = copy_tree(fixtures.ssl4mis, place / "in")
    file, shape = source / "data" / "patient028_frame01.h5", (3, 22, 26)
    secret = str(place.parent / "outside" / "secret.raw")
    with h5py.File(file, "w") as content:
        content["label"] = np.zeros(shape, np.uint8)
        if way == "external link":
            content["image"] = h5py.ExternalLink(secret.replace(".raw", ".h5"), "image")
        elif way == "external storage":
            content.create_dataset("image", shape, "u1", external=[(secret, 0, 1716)])
        elif way == "virtual data":
            layout = h5py.VirtualLayout(shape, "f4")
            layout[:] = h5py.VirtualSource(secret.replace(".raw", ".h5"), "image", shape)
            content.create_virtual_dataset("image", layout)
        elif way == "a link to itself":
            content["image"] = h5py.SoftLink("/image")
        elif way == "a chain of links":
            content["image"] = h5py.SoftLink("/a0")
            for number in range(200):
                content[f"a{number}"] = h5py.SoftLink(f"/a{number + 1}")
        elif way == "a group":
            content.create_group("image")
        else:
            content.create_dataset("image", (10**4,) * 3, "f4", chunks=(1, 100, 100))
    return prepared(Path("in"), "ssl4mis", f"HDF5 with {way}")


def stored(way: str, fixtures: Fixtures, place: Path) -> Attempt:
    """Look at a store whose sealed description names something outside or impossible."""
    store = copy_tree(fixtures.store, place / "in")
    content = json.loads((store / "store.json").read_text())
    content.pop("checksum")
    case = content["cases"][0]
    changes: dict[str, Callable[[], Any]] = {
        "an id outside": lambda: case.update(id="../../../outside"),
        "an absolute id": lambda: case.update(id=str(place.parent / "outside")),
        "many slices": lambda: case.update(slices=10**12),
        "negative slices": lambda: case.update(slices=-1),
        "a shape as text": lambda: case.update(shape="ab"),
        "a huge shape": lambda: case.update(shape=[2**40, 2**40]),
        "channels as text": lambda: content.update(channels="1"),
        "no cases": lambda: content.update(cases=[]),
        "a case twice": lambda: content["cases"].append(case),
        "a class that steers": lambda: content.update(classes=["background", "a\x1b[2J", "b"]),
        "a patient that steers": lambda: case.update(patient="a\x1b[2J\u202e"),
        "a source that steers": lambda: content.update(source="a\x1b[2J"),
        "a remark that steers": lambda: case.update(remarks=["a\x1b[2J\n\u202e"]),
        "another version": lambda: content.update(version=99),
        "NaN as spacing": lambda: case.update(spacing=[float("nan")] * 3),
    }
    changes[way]()
    write_sealed(store / "store.json", content)
    given = ["evaluate", "out", "--split", "val", "--store", "in", "--device", "cpu"]
    copy_tree(fixtures.run, place / "out")
    parsed = command(Inspect(Path("in"), quiet=True))
    work = arguments(*given) if len(way) % 2 else parsed
    return Attempt(f"a store with {way}", work, ("out",), kept=("out",))


STORED = (
    *("an id outside", "an absolute id", "many slices", "negative slices", "a shape as text"),
    *("a huge shape", "channels as text", "no cases", "a case twice", "a class that steers"),
    *("a patient that steers", "a source that steers", "a remark that steers", "another version"),
    "NaN as spacing",
)
HDF5 = ("external link", "external storage", "virtual data", "a link to itself", "a chain of links")
HDF5 += ("a group", "10^12 voxels")
OUTSIDE: tuple[Make, ...] = (
    *(partial(header, RAW.format(way), "a.nhdr") for way in _NRRD_WAYS),
    *(partial(header, RAW.format(way), "a.nrrd") for way in _NRRD_WAYS),
    *(partial(header, META.format(way), "a.mhd") for way in _META_WAYS),
    *(partial(header, META.format(way), "a.mha") for way in _META_WAYS),
    *(
        partial(entry, path, key)
        for key in ("image", "label")
        for path in (
            "../../outside/secret.nii",
            "OUTSIDE/secret.nii",
            "./../in/../../outside/secret.nii",
        )
    ),
    *(partial(listed, path) for path in ("../../../outside/secret", "OUTSIDE/secret")),
    *(partial(hdf5, way) for way in HDF5),
    *(partial(stored, way) for way in STORED),
)


# ---- huge claims -------------------------------------------------------------------------------


def claim(name: str, content: bytes, fixtures: Fixtures, place: Path) -> Attempt:
    """Read a small file that claims to be huge."""
    write_files(place / "in", {name: content})
    path = Path("in") / name
    return Attempt(f"{name} of {len(content)} bytes", command(_predict(fixtures, path)))


def _nifti(dims: tuple[int, ...], kind: int = 4, bits: int = 16, tail: bytes = bytes(64)) -> bytes:
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, *(len(dims), *dims, *(1,) * (7 - len(dims))))
    struct.pack_into("<hh", head, 70, kind, bits)
    struct.pack_into("<8f", head, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<f", head, 108, 352)
    head[344:348] = b"n+1\0"
    return bytes(head) + tail


def _png(width: int, height: int) -> bytes:
    def part(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", data) + part(b"IEND", b"")


def _tiff(width: int, height: int) -> bytes:
    tags = (
        (256, width),
        (257, height),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, height),
        (279, 4),
    )
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return (
        struct.pack("<2sHI", b"II", 42, 12)
        + bytes(4)
        + struct.pack("<H", len(tags))
        + entries
        + bytes(4)
    )


def _dicom(rows: int, columns: int, frames: str, syntax: str) -> bytes:
    def element(group: int, number: int, kind: bytes, value: bytes) -> bytes:
        value += b"\0" * (len(value) % 2)
        if kind in (b"OB", b"OW", b"SQ"):
            return struct.pack("<HH2sHI", group, number, kind, 0, len(value)) + value
        return struct.pack("<HH2sH", group, number, kind, len(value)) + value

    meta = element(2, 2, b"UI", b"1.2.840.10008.5.1.4.1.1.4") + element(2, 3, b"UI", b"1.2.3")
    meta += element(2, 0x10, b"UI", syntax.encode())
    head = element(2, 0, b"UL", struct.pack("<I", len(meta))) + meta
    body = element(8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.4") + element(8, 0x18, b"UI", b"1.2.3")
    body += element(0x18, 0x50, b"DS", b"1") + element(0x20, 0xE, b"UI", b"1.2")
    body += element(0x20, 0x32, b"DS", b"0\\0\\0") + element(0x20, 0x37, b"DS", b"1\\0\\0\\0\\1\\0")
    body += element(0x28, 2, b"US", struct.pack("<H", 1)) + element(0x28, 4, b"CS", b"MONOCHROME2")
    body += element(0x28, 8, b"IS", frames.encode()) if frames else b""
    for number, value in (
        (0x10, rows),
        (0x11, columns),
        (0x100, 16),
        (0x101, 16),
        (0x102, 15),
        (0x103, 0),
    ):
        body += element(0x28, number, b"US", struct.pack("<H", value))
    if syntax.endswith(".1"):
        pixels = element(0x7FE0, 0x10, b"OW", bytes(128))
    else:
        item = struct.pack("<HHI", 0xFFFE, 0xE000, 64) + bytes(64)
        pixels = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF)
        pixels += (
            struct.pack("<HHI", 0xFFFE, 0xE000, 0) + item + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
        )
    return bytes(128) + b"DICM" + head + body + pixels


_SYNTAXES = (
    *("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50"),
    *("1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90", "1.2.3.4"),
)
_DIMS = (
    *((32767, 32767, 32767), (32767, 32767, 32767, 32767), (1, 1, 1), (5, 5, 0), (5, 5, -5), (5,)),
    *((1, 1, 1, 1, 1, 1, 1), (32767,) * 7),
)


def bomb(fixtures: Fixtures, place: Path) -> Attempt:
    """Predict 200 MB of zeros in 200 kB of gzip."""
    pieces = (_nifti((32767, 32767, 1)), *(bytes(2**20) for _ in range(200)))
    packer = zlib.compressobj(1, wbits=31)
    content = b"".join([*map(packer.compress, pieces), packer.flush()])
    return claim("bomb.nii.gz", content, fixtures, place)


CLAIMS: tuple[Make, ...] = (
    *(partial(claim, "a.nii", _nifti(dims)) for dims in _DIMS),
    *(partial(claim, "a.nii.gz", gzip.compress(_nifti(dims), mtime=0)) for dims in _DIMS),
    *(partial(claim, "a.nii", _nifti((4, 4, 4), kind)) for kind in (0, 1, 32, 128, 1536, 2048, -1)),
    *(
        partial(claim, "a.nrrd", RAW.format("").replace("5 5 5", sizes).encode() + bytes(125))
        for sizes in (
            "1000000 1000000 1000000",
            "0 5 5",
            "-1 5 5",
            "5 5",
            "18446744073709551616 1 1",
        )
    ),
    *(
        partial(claim, "a.nrrd", RAW.format("").replace("dimension: 3", f"dimension: {n}").encode())
        for n in ("0", "-1", "17", "1000000000", "nan")
    ),
    *(
        partial(claim, "a.mha", META.format("ElementDataFile = LOCAL").replace(*change).encode())
        for change in (
            *(("NDims = 3", f"NDims = {n}") for n in ("-3", "0", "11", "1000000000", "x")),
            *(("5 5 5", n) for n in ("1000000 1000000 1000000", "0 5 5", "-5 5 5", "5", "nan 5 5")),
            ("True", "False"),
            ("MET_UCHAR", "MET_OTHER"),
        )
    ),
    *(
        partial(claim, "a.png", _png(*size))
        for size in ((2**31 - 1, 2**31 - 1), (0, 1), (30000, 30000))
    ),
    *(partial(claim, "a.tif", _tiff(*size)) for size in ((2**31, 2**31), (0, 0), (30000, 30000))),
    *(
        partial(claim, "a.dcm", _dicom(rows, columns, frames, syntax))
        for syntax in _SYNTAXES
        for rows, columns, frames in (
            (65535, 65535, ""),
            (8, 8, "1000000"),
            (8, 8, "-1"),
            (0, 8, ""),
            (8, 8, "x"),
        )
    ),
    bomb,
)


# ---- names -------------------------------------------------------------------------------------

NAMES = (
    *(
        "a\x1b[2J\x1b]0;x\x07.nii",
        "b\u202ecod.nii",
        os.fsdecode(b"c\xff\xfe.nii"),
        "-rf.nii",
        "d\ne.nii",
    ),
    *(
        "[red]f[/red].nii",
        "%s%n.nii",
        "g'\"`$(id).nii",
        "h" * 240 + ".nii",
        " .nii",
        "..nii",
        "=1+1.nii",
    ),
    *(
        "*.nii",
        "?.nii",
        "[a-z].nii",
        "{0}.nii",
        "i\tj.nii",
        "\u2028.nii",
        "k\x9b2J.nii",
        "~.nii",
        "-.nii",
    ),
    *(
        "<b>.nii",
        "\\[x](y).nii",
        "l|m.nii",
        "n;o.nii",
        "p .nii",
        "q\u200b.nii",
        ":smile:.nii",
        "é.nii",
    ),
)


def named(name: str, verb: str, fixtures: Fixtures, place: Path) -> Attempt:
    """Give a good scan, or one with a remark, a hostile name."""
    content = fixtures.scans["label.nrrd" if verb == "refuse" else "a.nii"]
    skewed = bytearray(next(iter(content.values())))
    if verb == "remark":
        struct.pack_into("<h", skewed, 252, 0)  # no qform; the sform is skewed
        struct.pack_into("<4f", skewed, 280, 1, 0.6, 0, 0)
    write_files(place / "in" / "images", {name: bytes(skewed)})
    path = Path("in/images") / name
    if verb == "inspect":
        return Attempt(f"inspect {name!r}", command(Inspect(path)), ())
    if verb == "prepare":
        (place / "in" / "labels").mkdir()
        copied = fixtures.scans["a.nii"]
        write_files(place / "in" / "labels", {name: next(iter(copied.values()))})
        return prepared(Path("in"), "folder", f"prepare {name!r}")
    if verb == "read":
        return Attempt(f"read {name!r}", command(Read(path)), ("out.npy",))
    paths = (path, Path("in/images/missing")) if verb == "refuse" else (path,)
    parsed = Predict(fixtures.run, Path("out"), paths, device="cpu")
    return Attempt(f"{verb} {name!r}", command(parsed))


NAMED: tuple[Make, ...] = tuple(
    partial(named, name, verb)
    for verb in ("inspect", "remark", "prepare", "refuse")
    for name in NAMES
)


# ---- the kinds ---------------------------------------------------------------------------------


def in_turn(makes: tuple[Make, ...]) -> Callable[[Fixtures, Path, Any], Attempt]:
    """Return an attack that makes one after another, in an order that mixes the sorts."""
    order = random.Random(0).sample(range(len(makes)), len(makes))

    def attack(fixtures: Fixtures, place: Path, draw: Any) -> Attempt:
        return makes[order[draw.number % len(makes)]](fixtures, place)

    return attack


def _thing(make: Callable[[Fixtures, Path, str], Attempt], thing: str) -> Make:
    return lambda fixtures, place: make(fixtures, place, thing)


HOSTILE = {
    "no files": (in_turn(tuple(_thing(make, one) for make in IN_PLACE for one in THINGS)), 8),
    "ways outside": (in_turn(OUTSIDE), 3),
    "huge claims": (in_turn(CLAIMS), 3),
    "hostile names": (in_turn(NAMED), 3),
}
"""Kinds of hostile files, with how often each has its turn; each sort comes once, then again."""
HOW_MANY = {
    "no files": len(IN_PLACE) * len(THINGS),
    "ways outside": len(OUTSIDE),
    "huge claims": len(CLAIMS),
    "hostile names": len(NAMED),
}
"""How many there are of each; later ones repeat them."""
