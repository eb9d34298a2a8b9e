"""csrc/image/augment.c and change.c in NumPy: what is drawn for a picture, and what it becomes."""

import numpy as np
import oracle

CHANGE = 5  # SQZ_RNG_CHANGE
FIELDS = {
    "flips": (),
    "moved": (),
    "column": (3,),
    "row": (3,),
    "coloured": (),
    "colours": (3, 3),
    "grey": (),
    "erased": (4,),
    "noise": (2,),
}


def as_dict(change):
    """The numbers of a row by the names of csrc/image/augment.h, int64."""
    found, at = {}, 0
    for name, shape in FIELDS.items():
        count = int(np.prod(shape, dtype=int))
        found[name] = np.asarray(change[at : at + count], np.int64).reshape(shape)
        at += count
    assert at == len(change)
    return found


# -- Drawing ---------------------------------------------------------------------------------------


def words(seed, epoch, index):
    """The sixteen 32-bit numbers that a picture's change is drawn by."""
    found = []
    for block in range(4):
        b = 4 * index + block
        counter = (epoch & 0xFFFFFFFF, epoch >> 32, b & 0xFFFFFFFF, CHANGE + (b >> 32 << 4))
        found += [int(word) for word in oracle.philox(counter, (seed & 0xFFFFFFFF, seed >> 32))]
    return found


def draw(ranges, seed, epoch, index, h, w):
    """The change without its flips, as a dict; numbers in 2^-16 not yet rounded."""
    drawn = words(seed, epoch, index)

    def between(place, low, high):
        return low + (high - low) * (drawn[place] + 0.5) / 2**32

    def around(place, centre, name):
        return between(place, centre - ranges.get(name, 0), centre + ranges.get(name, 0))

    turns = drawn[8] >> 30 if ranges.get("quarter_turns") else 0
    angle = np.deg2rad(around(0, 0, "rotation") + 90 * turns)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turn /= around(1, 1, "scale")
    middle = np.array([w - 1, h - 1]) / 2
    to = middle + [around(2, 0, "translation") * w, around(3, 0, "translation") * h]
    places = np.column_stack([turn, middle - turn @ to])

    grey = np.tile([0.299, 0.587, 0.114], (3, 1))
    to_iq = np.array([[0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    of_iq = np.array([[0.956, 0.619], [-0.272, -0.647], [-1.106, 1.703]])
    b, c, s = (around(4 + i, 1, n) for i, n in enumerate(("brightness", "contrast", "saturation")))
    hue = 2 * np.pi * around(7, 0, "hue")
    quarter = of_iq @ [[0, -1], [1, 0]] @ to_iq
    colour = np.cos(hue) * (np.eye(3) - grey) + np.sin(hue) * quarter

    erased = np.zeros(4)
    if between(9, 0, 1) < ranges.get("erasing", 0):
        area = between(10, 0.02, 0.33) * h * w
        ratio = np.exp(between(11, np.log(0.3), np.log(3.3)))
        height = min(np.rint(np.sqrt(area * ratio)), h)
        width = min(np.rint(np.sqrt(area / ratio)), w)
        top, left = int(between(12, 0, h - height + 1)), int(between(13, 0, w - width + 1))
        erased = np.array([top, left, height, width])
    return {
        "moved": turns > 0 or any(ranges.get(n) for n in ("rotation", "scale", "translation")),
        "column": places[0] * 65536,
        "row": places[1] * 65536,
        "coloured": any(ranges.get(n) for n in ("brightness", "contrast", "saturation", "hue")),
        "colours": b * c * (grey + s * colour) * 65536,
        "grey": b * (1 - c) * 65536,
        "erased": erased,
        "noise": np.array(drawn[14:16] if erased.any() else [0, 0], np.uint32).view(np.int32),
    }


# -- Doing -----------------------------------------------------------------------------------------


def flipped(picture, flips):
    picture = picture[:, ::-1] if flips & 1 else picture
    return picture[::-1] if flips & 2 else picture


def moved(picture, column, row):
    """Bilinear, by distances of 2^-8 of a pixel; black beyond the edges."""
    h, w, _ = picture.shape
    y, x = np.mgrid[:h, :w].astype(np.int64)
    from_x = column[0] * x + column[1] * y + column[2] + 128
    from_y = row[0] * x + row[1] * y + row[2] + 128
    left, top = from_x >> 16, from_y >> 16
    right_share, low_share = from_x >> 8 & 255, from_y >> 8 & 255
    total = np.full((h, w, 3), 32768, np.int64)
    for down in (0, 1):
        for across in (0, 1):
            at_x, at_y = left + across, top + down
            inside = (at_x >= 0) & (at_x < w) & (at_y >= 0) & (at_y < h)
            tap = picture[at_y.clip(0, h - 1), at_x.clip(0, w - 1)].astype(np.int64)
            share = (right_share if across else 256 - right_share) * (
                low_share if down else 256 - low_share
            )
            total += tap * (share * inside)[..., None]
    return (total >> 16).astype(np.uint8)


def coloured(picture, colours, grey):
    sums = picture.astype(np.int64).sum(axis=(0, 1))
    mean = int(sums @ [299, 587, 114]) * 256 // (1000 * picture.shape[0] * picture.shape[1])
    offset = int(grey) * mean >> 8
    sums = picture.astype(np.int64) @ colours.T + offset + 32768
    whole = sums.astype(np.uint64).astype(np.uint32).view(np.int32) >> 16  # where they wrap
    return whole.clip(0, 255).astype(np.uint8)


def erased(picture, rectangle, noise):
    top, left, height, width = (int(number) for number in rectangle)
    h, w, _ = picture.shape
    if height <= 0 or width <= 0 or min(top, left) < 0 or top + height > h or left + width > w:
        return picture
    count = 3 * height * width
    blocks = np.arange(-(-count // 16), dtype=np.uint32)
    zero = np.zeros_like(blocks)
    key = [int(number) & 0xFFFFFFFF for number in noise]
    found = np.stack(oracle.philox((blocks, zero, zero, zero), key), axis=1).astype("<u4")
    bytes_ = found.view(np.uint8).ravel()[:count]
    picture = picture.copy()
    picture[top : top + height, left : left + width] = bytes_.reshape(height, width, 3)
    return picture


def change(picture, row_of_numbers):
    """What becomes of an (h, w, 3) uint8 picture."""
    said = as_dict(row_of_numbers)
    if said["moved"]:
        picture = moved(picture, said["column"], said["row"])
    picture = flipped(picture, said["flips"])
    if said["coloured"]:
        picture = coloured(picture, said["colours"], said["grey"])
    return erased(picture, said["erased"], said["noise"])
