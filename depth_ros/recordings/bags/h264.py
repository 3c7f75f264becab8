"""Key frames and lost pictures of H.264 and H.265 video, from the headers of its NAL units.

ITU-T H.264, 7.3 (syntax) and 7.4.3 (`frame_num`); ITU-T H.265, table 7-1.
"""

from __future__ import annotations

from collections.abc import Iterator

START_CODE = b"\0\0\1"
NON_IDR_SLICE, IDR_SLICE, SPS = 1, 5, 7
H265_KEY_FRAMES = range(16, 24)
"""NAL unit types of pictures from which decoding can begin (IRAP)."""
_WITH_CHROMA_FORMAT = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)
"""Values of profile_idc whose SPS has chroma_format_idc."""


def is_h265_key_frame(data: bytes) -> bool:
    """Whether decoding can begin with an access unit of H.265."""
    return any((unit[0] >> 1) & 0x3F in H265_KEY_FRAMES for unit in nal_units(data))


class H264Sequence:
    """Consecutive access units of H.264, each given to `add`.

    `frame_num` counts the reference pictures: where it jumps, one is lost, which the decoder replaces without a word.
    """

    def __init__(self) -> None:
        self._bits = 0
        self._gaps_allowed = False
        self._last = -1  # frame_num of the last picture

    def add(self, data: bytes) -> tuple[bool, bool]:
        """Whether decoding can begin with it, and whether a reference picture before it is lost."""
        has_parameters = False
        for unit in nal_units(data):
            kind = unit[0] & 0x1F
            if kind == SPS:
                has_parameters = True
                self._read_parameters(unit)
            elif kind in (NON_IDR_SLICE, IDR_SLICE):
                is_lost = self._is_lost(unit, kind == IDR_SLICE)
                return kind == IDR_SLICE or has_parameters, is_lost
        return False, False

    def _is_lost(self, unit: bytes, is_idr: bool) -> bool:
        if not self._bits:
            return False
        bits = Bits(unit)
        for _ in range(3):  # first_mb_in_slice, slice_type, pic_parameter_set_id
            bits.exp_golomb()
        number, last = bits.read(self._bits), self._last
        self._last = number
        return (
            not is_idr
            and last >= 0
            and not self._gaps_allowed
            and number not in (last, (last + 1) % 2**self._bits)
        )

    def _read_parameters(self, unit: bytes) -> None:
        """The sequence parameter set. 4:4:4 with separately coded planes is not checked for losses."""
        bits = Bits(unit)
        profile = bits.read(8)
        bits.read(16)
        bits.exp_golomb()
        if profile in _WITH_CHROMA_FORMAT and not _skip_chroma_format(bits):
            self._bits = 0
            return
        self._bits = bits.exp_golomb() + 4
        order = bits.exp_golomb()
        if order == 0:
            bits.exp_golomb()
        elif order == 1:
            bits.read(1)
            for _ in range(2):
                bits.exp_golomb()
            for _ in range(bits.exp_golomb()):
                bits.exp_golomb()
        bits.exp_golomb()
        self._gaps_allowed = bool(bits.read(1))


def nal_units(data: bytes) -> Iterator[bytes]:
    """The beginnings, at most 256 bytes, of the NAL units of a byte stream (annex B), without their start codes."""
    position = data.find(START_CODE)
    while 0 <= position < len(data) - 3:
        yield data[position + 3 : position + 259]
        position = data.find(START_CODE, position + 3)


def _skip_chroma_format(bits: Bits) -> bool:
    """Skip chroma_format_idc and what follows up to the scaling lists. Returns whether planes are coded together."""
    chroma = bits.exp_golomb()
    if chroma == 3 and bits.read(1):
        return False
    bits.exp_golomb()
    bits.exp_golomb()
    bits.read(1)
    if bits.read(1):
        for number in range(12 if chroma == 3 else 8):
            if bits.read(1):
                _skip_scaling_list(bits, 16 if number < 6 else 64)
    return True


def _skip_scaling_list(bits: Bits, size: int) -> None:
    last = 8
    for _ in range(size):
        code = bits.exp_golomb()
        delta = (code + 1) // 2 if code % 2 else -(code // 2)
        following = (last + delta) % 256
        if following == 0:
            return
        last = following


class Bits:
    """Reader of the bits of a NAL unit after its header, which has one byte. Beyond the end it reads 0 and 1."""

    def __init__(self, unit: bytes) -> None:
        payload = unit[1:].replace(b"\0\0\3", b"\0\0")  # emulation prevention
        self._text = "".join(f"{byte:08b}" for byte in payload)
        self._position = 0

    def read(self, count: int) -> int:
        begin, self._position = self._position, self._position + count
        return int(self._text[begin : self._position] or "0", 2)

    def exp_golomb(self) -> int:
        """An unsigned number in Exp-Golomb code (9.1)."""
        end = self._text.find("1", self._position)
        if end < 0:
            return 0
        zeros, self._position = end - self._position, end
        return self.read(zeros + 1) - 1
