"""Files of voxels: whole or refused, read as ITK reads them, and never from somewhere else."""

import bz2
import gzip
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from diffrect.errors import InputError
from diffrect.imaging.itk import LPS_TO_RAS
from diffrect.imaging.read import read_image, read_label
from diffrect.imaging.voxels import streams
from diffrect.imaging.voxels.files import check_memory, open_regular
from diffrect.imaging.voxels.streams import Inflated
from support.tiny import write_nifti

VOXELS = np.random.default_rng(0).integers(0, 3, (7, 5, 6)).astype(np.uint8)
RAW = VOXELS.tobytes(order="F")
META = "ObjectType = Image\nNDims = 3\nDimSize = 7 5 6\nElementType = MET_UCHAR\n"
NRRD = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 7 5 6\n"


def meta(path: Path, voxels: bytes = RAW, place: str = "LOCAL", **fields: object) -> Path:
    lines = "".join(f"{name} = {value}\n" for name, value in fields.items())
    path.write_bytes(f"{META}{lines}ElementDataFile = {place}\n".encode() + voxels)
    return path


def nrrd(path: Path, voxels: bytes = RAW, encoding: str = "raw", more: str = "") -> Path:
    path.write_bytes(f"{NRRD}encoding: {encoding}\n{more}\n".encode() + voxels)
    return path


def nifti(path: Path, voxels: bytes = RAW, squeeze: Callable[[bytes], bytes] = gzip.compress):
    header = nib.Nifti1Header()
    header.set_data_shape(VOXELS.shape)
    header.set_data_dtype(np.uint8)
    header["magic"], header["vox_offset"] = b"n+1", 352
    path.write_bytes(squeeze(header.binaryblock + bytes(4) + voxels))
    return path


def freesurfer(path: Path) -> Path:
    nib.save(nib.MGHImage(VOXELS, np.eye(4)), path)
    return path


COMPRESSED = {
    "a.nii.gz": nifti,
    "a.nii.bz2": lambda path: nifti(path, squeeze=bz2.compress),
    "a.mgz": freesurfer,
    "gz.nrrd": lambda path: nrrd(path, gzip.compress(RAW), "gzip"),
    "bz.nrrd": lambda path: nrrd(path, bz2.compress(RAW), "bzip2"),
    "zlib.mha": lambda path: meta(path, zlib.compress(RAW), CompressedData=True),
    "gz.mha": lambda path: meta(path, gzip.compress(RAW), CompressedData=True),
}


@pytest.mark.parametrize("name", COMPRESSED)
def test_every_bit_of_compressed_data_counts(tmp_path: Path, name: str) -> None:
    path = COMPRESSED[name](tmp_path / name)
    np.testing.assert_array_equal(read_label(path).array, VOXELS)
    content = path.read_bytes()
    refused = 0
    places = np.random.default_rng(1).integers(len(content) // 2, len(content), 60)
    for place in (*places, len(content) - 1, len(content) - 8):
        changed = bytearray(content)
        changed[place] ^= 1 << int(place) % 8
        path.write_bytes(changed)
        try:
            found = read_image(path)
        except InputError:
            refused += 1
        else:  # padding, which says nothing
            np.testing.assert_array_equal(found.array, VOXELS)
    assert refused > 50
    for end in (1, 4, 9, len(content) // 4):
        path.write_bytes(content[:-end])
        with pytest.raises(InputError, match="seems truncated"):
            read_image(path)


@pytest.mark.parametrize("name", ["a.nii.gz", "gz.nrrd", "bz.nrrd", "zlib.mha"])
def test_what_follows_compressed_data_is_left_out_and_named(tmp_path: Path, name: str) -> None:
    path = COMPRESSED[name](tmp_path / name)
    content = path.read_bytes()
    said = "7 bytes after its compressed data, which are left out"
    for end, remarks in {b"": (), bytes(512): (), b"garbage": (said,)}.items():
        path.write_bytes(content + end)
        found = read_label(path)
        np.testing.assert_array_equal(found.array, VOXELS)
        assert found.remarks == remarks


def test_a_damaged_part_is_found_though_the_voxels_are_whole(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii.gz")
    content = path.read_bytes()
    path.write_bytes(content + gzip.compress(b"more")[:-1] + b"!")
    with pytest.raises(InputError, match="found one that is damaged: incorrect length check"):
        read_image(path)
    path.write_bytes(content + gzip.compress(b"more")[:-5])
    with pytest.raises(InputError, match="found one that seems truncated"):
        read_image(path)


def test_nobody_waits_for_voxels_far_behind(tmp_path: Path) -> None:
    for path in (nifti(tmp_path / "a.nii.gz"), nrrd(tmp_path / "a.nrrd", gzip.compress(RAW), "gz")):
        content = path.read_bytes()
        if path.suffix == ".gz":
            header = bytearray(gzip.decompress(content))
            header[108:112] = np.float32(1e9).tobytes()  # vox_offset
            path.write_bytes(gzip.compress(header))
        else:
            path.write_bytes(content.replace(b"encoding", b"byte skip: 1000000000\nencoding"))
        with pytest.raises(InputError, match=r"1000000000"):
            read_image(path)


def test_many_small_parts_are_read_as_one(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    parts = [b"", *(bytes([byte]) for byte in RAW)]
    nifti(path, b"", lambda start: b"".join(map(gzip.compress, [start, *parts])) + bytes(3))
    np.testing.assert_array_equal(read_label(path).array, VOXELS)


def test_nobody_waits_for_an_endless_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "ENDLESS", 2**16)
    path = nifti(tmp_path / "a.nii.gz", RAW + bytes(2**20))
    with pytest.raises(InputError, match=r"found more than \d+ bytes after its voxels"):
        read_image(path)


def test_compressed_data_is_read_once_and_forwards(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    content = np.random.default_rng(0).integers(0, 9, 10**6).astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content))
    with open_regular(path, "a file") as file:
        stream = Inflated(file, "gzip", path, "a file")
        assert stream.read(10) == content[:10]
        assert stream.seek(900_000) == stream.tell() == 900_000
        assert stream.read(10) == content[900_000:900_010]
        with pytest.raises(ValueError, match="forwards only"):
            stream.seek(5)
        assert stream.finish() == 10**6 - 900_010
        assert stream.read(1) == b""


def itk(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What ITK makes of a file: voxels, spacing and RAS+ affine."""
    image = sitk.ReadImage(str(path))
    size = image.GetDimension()
    array = sitk.GetArrayFromImage(image)
    axes = tuple(reversed(range(size)))
    array = array.transpose((*axes, size) if array.ndim > size else axes)
    array = array[:, :, np.newaxis] if size == 2 else array
    spacing, affine = np.ones(3), np.eye(4)
    few = min(size, 3)
    spacing[:few] = image.GetSpacing()[:few]
    affine[:few, :few] = np.reshape(image.GetDirection(), (size, size))[:few, :few]
    affine[:3, :3] *= spacing
    affine[:few, 3] = image.GetOrigin()[:few]
    return array, spacing, LPS_TO_RAS @ affine


GOOD_META = [
    {},
    {"ElementSize": "1 2 3"},
    {"ElementSpacing": "4 5 6", "ElementSize": "1 2 3"},
    {"ElementSpacing": "4 -5 6.5e0", "Offset": "1 2 -3"},
    {"Position": "1 2 3", "Orientation": "0 1 0 1 0 0 0 0 1", "ElementSpacing": ".5 1. 2"},
    {"Origin": "1 2 3", "TransformMatrix": "0 1 0 0 0 1 1 0 0", "ElementSpacing": "4 5 6"},
    {"Rotation": "0.8 0.6 0 -0.6 0.8 0 0 0 2", "DistanceUnits": "m"},
    {
        "BinaryData": "True",
        "Comment": "a = b : c",
        "elementdatafile": "LOCAL",
        "Modality": "MET_MR",
    },
]
GOOD_NRRD = [
    "",
    "# comment\nkey:=value\ncontent: a: b\nlabels: \"x\" \"y\" \"z\"\n",
    "spacings: 1 -2 nan\n",
    "spacings: 1 2 3\naxis mins: 1 2 3\n",
    "Spacings: 1 2 3\naxismins: 1 2 3\ncenterings: node node node\n",
    "axis mins: 0 1 2\naxis maxs: 7 6 8\n",
    "space: RAS\nspace directions: (0,0,2) (3,0,0) (0,4,0)\nspace origin: (1,2,3)\n",
    "space: left-anterior-superior\nspace directions: (1,0,0.5) (0,2,0) (0,0,3)\n",
    "space: 3D-right-handed\nspace directions: (1,0,0) (0,2,0) (0,0,3)\nspace origin: (1,2,3)\n",
    "space dimension: 3\nspacedirections: none none none\nmeasurement frame: none none none\n",
    "byte skip: 3\n",
    "byte skip: -1\n",
    "kinds: domain space domain\nspace: LPS\n",
]  # fmt: skip


@pytest.mark.parametrize("fields", GOOD_META)
def test_metaimage_lies_where_itk_says(tmp_path: Path, fields: dict[str, str]) -> None:
    same(meta(tmp_path / "a.mha", **fields))


@pytest.mark.parametrize("more", GOOD_NRRD)
def test_nrrd_lies_where_itk_says(tmp_path: Path, more: str) -> None:
    same(nrrd(tmp_path / "a.nrrd", RAW + bytes(3), more=more))


def same(path: Path) -> None:
    found = read_image(path)
    array, spacing, affine = itk(path)
    assert found.array.dtype == array.dtype
    np.testing.assert_array_equal(found.array, array)
    np.testing.assert_allclose(found.spacing, spacing, rtol=1e-12)
    np.testing.assert_allclose(found.affine, affine, atol=1e-12)


TYPES = {
    "i1": ("CHAR", "signed char"),
    "u1": ("UCHAR", "uchar"),
    "i2": ("SHORT", "short"),
    "u2": ("USHORT", "unsigned short int"),
    "i4": ("INT", "int32"),
    "u4": ("ULONG", "unsigned int"),
    "i8": ("LONG_LONG", "long long int"),
    "u8": ("ULONG_LONG", "uint64"),
    "f4": ("FLOAT", "float"),
    "f8": ("DOUBLE", "double"),
}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("order", ["little", "big"])
def test_types_and_orders_of_bytes_are_those_of_itk(tmp_path: Path, kind: str, order: str) -> None:
    numbers = np.arange(3 * 4 * 2 * 2).reshape(2, 3, 4, 2) * 5 % 119
    voxels = numbers.astype(f"{'<' if order == 'little' else '>'}{kind}").tobytes()
    a, b = tmp_path / "a.mha", tmp_path / "b.nrrd"
    a.write_bytes(
        f"NDims = 3\nDimSize = 3 4 2\nElementNumberOfChannels = 2\n"
        f"BinaryDataByteOrderMSB = {order == 'big'}\nElementType = MET_{TYPES[kind][0]}\n"
        "ElementDataFile = LOCAL\n".encode()
        + voxels
    )
    b.write_bytes(
        f"NRRD0005\r\ntype: {TYPES[kind][1]}\r\ndimension: 4\r\nsizes: 3 4 2 2\r\nendian: {order}"
        "\r\nkinds: domain domain domain vector\r\nencoding: raw\r\n\r\n".encode()
        + voxels
    )
    for path in (a, b):
        same(path)
        assert read_image(path).array.dtype.isnative


def test_two_four_and_five_dimensions(tmp_path: Path) -> None:
    for sizes in ("7 30", "7 5 3 2", "7 5 3 2 1"):
        many = len(sizes.split())
        path = tmp_path / "a.nrrd"
        text = NRRD.replace("dimension: 3", f"dimension: {many}").replace("7 5 6", sizes)
        path.write_bytes(f"{text}encoding: raw\n\n".encode() + RAW)
        array = itk(path)[0]
        np.testing.assert_array_equal(read_image(path).array, array.reshape(array.shape[:4]))


@pytest.mark.parametrize("encoding", ["raw", "gz", "bz2", "text"])
def test_voxels_beside_their_header(tmp_path: Path, encoding: str) -> None:
    text = " ".join(map(str, RAW)).encode()
    stored = {"gz": gzip.compress(RAW), "bz2": bz2.compress(RAW), "text": text}.get(encoding, RAW)
    (tmp_path / "v").write_bytes(stored)
    for name in ("v", "./v"):
        path = nrrd(tmp_path / "a.nhdr", b"", encoding, f"data file: {name}\n")
        np.testing.assert_array_equal(read_image(path).array, VOXELS)
        if encoding != "bz2":  # which ITK may be built without
            same(path)
    if encoding in ("raw", "gz"):
        same(meta(tmp_path / "a.mhd", b"", "v", CompressedData=encoding == "gz"))
    (tmp_path / "v").write_bytes(stored[:-9])
    with pytest.raises(InputError, match=rf"{tmp_path}/v: expected the voxels of a\.nhdr, found"):
        read_image(tmp_path / "a.nhdr")


def test_lists_of_slices(tmp_path: Path) -> None:
    names = [f"slice {number}" for number in range(6)]
    for name, part in zip(names, np.split(np.frombuffer(RAW, np.uint8), 6), strict=True):
        (tmp_path / name).write_bytes(part.tobytes())
    lines = "\n".join(names)
    same(meta(tmp_path / "a.mhd", f"{lines}\n".encode(), "LIST"))
    same(nrrd(tmp_path / "a.nhdr", b"", more=f"data file: LIST\n{lines}"))
    meta(tmp_path / "a.mhd", "\n".join(names[1:]).encode(), "LIST")
    with pytest.raises(InputError, match="expected 6 files of voxels in its list, found 5"):
        read_image(tmp_path / "a.mhd")


@pytest.mark.parametrize(
    "place",
    [
        *(
            "/secret",
            "../secret",
            "sub/../../secret",
            "~/secret",
            "..",
            "",
            "C:secret",
            "a\\secret",
        ),
        *("LISTX\n/secret", "LIST 2D\n/secret", "LIST2\n/secret", "LIST\n/secret", "s%d 1 6 1"),
        *("secret\x07", "link", "sub/link"),
    ],
)
@pytest.mark.parametrize("suffix", ["mhd", "nhdr"])
def test_no_header_reads_a_file_elsewhere(tmp_path: Path, place: str, suffix: str) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(RAW)
    for link in (folder / "link", folder / "sub" / "link"):
        link.symlink_to(tmp_path / "secret")
    named = place.replace("/secret", str(tmp_path / "secret"))
    path = folder / f"a.{suffix}"
    meta(path, b"", named) if suffix == "mhd" else nrrd(path, b"", more=f"data file: {named}\n")
    with pytest.raises(InputError, match=rf"a\.{suffix}: expected"):
        read_image(path)


def test_decoys_are_no_fields(tmp_path: Path) -> None:
    """A field counts in the letters of the format only, and only once; so it is for ITK."""
    for decoy in (
        "elementdatafile = LOCAL",
        "ELEMENTDATAFILE = LOCAL",
        "# ElementDataFile : LOCAL",
    ):
        path = tmp_path / "a.mhd"
        path.write_text(f"{META}{decoy}\nElementDataFile = {tmp_path.parent / 'secret'}\n")
        with pytest.raises(InputError, match="expected its voxels in a file of its folder"):
            read_image(path)
    for lines in ("a: b\rElementDataFile = LOCAL\n", "ElementType = MET_CHAR\n", "a = \0\n"):
        path.write_text(f"{META}{lines}ElementDataFile = LOCAL\n" + "x" * 210)
        with pytest.raises(InputError, match="expected a readable NRRD or MetaImage file"):
            read_image(path)


def test_links_that_stay_are_followed(tmp_path: Path) -> None:
    real, linked = tmp_path / "real", tmp_path / "linked"
    real.mkdir()
    linked.mkdir()
    (real / "v").write_bytes(RAW)
    (real / "w").symlink_to("v")
    meta(real / "a.mhd", b"", "w")
    (linked / "a.mhd").symlink_to(real / "a.mhd")
    (linked / "w").symlink_to(real / "v")
    for folder in (real, linked):
        np.testing.assert_array_equal(read_image(folder / "a.mhd").array, VOXELS)
    nib.save(nib.Nifti1Pair(VOXELS, np.eye(4)), real / "b.hdr")
    (linked / "b.hdr").write_bytes((real / "b.hdr").read_bytes())
    (linked / "b.img").symlink_to(real / "b.img")
    with pytest.raises(InputError, match="a link that leads out of it"):
        read_image(linked / "b.hdr")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
@pytest.mark.parametrize("name", ["a.mhd", "a.nhdr", "a.hdr", "a.mha", "a.nrrd", "a.nii", "a.mgz"])
def test_pipes_are_never_opened(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name in ("a.mhd", "a.nhdr"):
        os.mkfifo(tmp_path / "v")
        here = {"a.mhd": lambda: meta(path, b"", "v")}
        here.get(name, lambda: nrrd(path, b"", more="data file: v\n"))()
    elif name == "a.hdr":
        nib.save(nib.Nifti1Pair(VOXELS, np.eye(4)), path)
        path.with_suffix(".img").unlink()
        os.mkfifo(path.with_suffix(".img"))
    else:
        os.mkfifo(path)
    with pytest.raises(InputError, match="found a named pipe"):
        read_image(path)


@pytest.mark.parametrize(
    "header",
    [
        *("NDims = -3", "NDims = 0", "NDims = 99999999999999999999", "NDims = 3.5", "NDims = 1"),
        *("DimSize = 7 5", "DimSize = 7 -5 6", "DimSize = 0 5 6", "DimSize = 7 5 6e9"),
        *("DimSize = 10000 10000 10000", "DimSize = 99999999 99999999 99999999"),
        *("ElementType = MET_STRING", "ElementType = MET_NONE", "ElementType =", "HeaderSize = -7"),
        *("ElementNumberOfChannels = -1", "ElementNumberOfChannels = 65536", "HeaderSize = 9"),
        *("ElementSpacing = 1 0 1", "ElementSpacing = 1 nan 1", "ElementSpacing = 1 1e999 1"),
        *("TransformMatrix = 1 0 0 1 0 0 0 0 1", "Offset = 1 2", "Offset = 0x1 1 1"),
        *("Offset = 1 2 3\nPosition = 1 2 4", "ObjectType = Mesh", "FileFormatVersion = 2"),
    ],
)
def test_headers_of_metaimage_that_cannot_be(tmp_path: Path, header: str) -> None:
    names = [line.partition(" =")[0] for line in header.splitlines()]
    lines = [line for line in META.splitlines() if line.partition(" =")[0] not in names]
    path = tmp_path / "a.mha"
    text = "\n".join([*lines, header, "ElementDataFile = LOCAL"]).encode()
    path.write_bytes(text + b"\n" + RAW)
    with pytest.raises(InputError, match=r"a\.mha: expected a readable NRRD or MetaImage file"):
        read_image(path)


@pytest.mark.parametrize(
    "header",
    [
        *("dimension: -3", "dimension: 1", "dimension: 9", "sizes: 7 5", "sizes: 7 -5 6"),
        *("sizes: 10000 10000 10000", "sizes: 99999999 99999999 99999999", "type: block"),
        *("type: int16", "type: int16\nendian: middle", "encoding: zrl", "encoding: hex"),
        *("kinds: complex domain domain", "kinds: list list domain", "kinds: a b c", "kinds: list"),
        *("byte skip: -2", "byte skip: 1", "line skip: 9999999999", "spacings: 1 0 1"),
        *("space: RAS\nspacings: 1 1 1", "space: moon", "space dimension: 2", "unknown: 1"),
        "space: LPS\nspace directions: (1,0,0) (1,0,0) (0,0,1)",
        "space: LPS\nspace directions: (1,0,0) (0,0,0) (0,0,1)",
        "space: LPS\nspace directions: (1,0) (0,1) (0,0)",
        "space directions: (1,0,0) (0,1,0) (0,0,1)",
        pytest.param(f"spacings: 1 1 {'1' * 900_000}x", id="a long number"),
        pytest.param(
            f"space: LPS\nspace directions: (1,0,0) (0,1,0) {' ' * 900_000}x", id="a long space"
        ),
    ],
)
def test_headers_of_nrrd_that_cannot_be(tmp_path: Path, header: str) -> None:
    names = [line.partition(":")[0] for line in header.splitlines()]
    given = [*NRRD.splitlines(), "encoding: raw"]
    lines = [line for line in given if line.partition(":")[0] not in names]
    path = tmp_path / "a.nrrd"
    path.write_bytes("\n".join([*lines, header, "", ""]).encode() + RAW)
    with pytest.raises(InputError, match=r"a\.nrrd: expected a readable NRRD or MetaImage file"):
        read_image(path)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "gz.nrrd", "bz.nrrd", "zlib.mha", "t.nrrd"])
def test_a_trillion_voxels_in_a_small_file_take_no_memory(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("memory was taken")

    path = tmp_path / name
    sizes = (10_000, 10_000, 10_000)
    if "nii" in name:
        content = bytearray(write_nifti(tmp_path / "b.nii", VOXELS, affine=np.eye(4)).read_bytes())
        content[42:48] = np.array(sizes, "<i2").tobytes()
        path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    else:
        make = COMPRESSED.get(name, lambda path: nrrd(path, b"1 2", "text"))
        content = make(path).read_bytes()
        path.write_bytes(content.replace(b"7 5 6", b"10000 10000 10000"))
    monkeypatch.setattr(np, "empty", never)
    with pytest.raises(InputError, match=r"truncated: its header says \(10000, 10000, 10000\)"):
        read_image(path)


def test_more_voxels_than_memory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it asks for more memory than there is"):
        check_memory(tmp_path, "a file", 2**50)
