"""Encoders of image files for tests: each writes the same picture in another way, without loss."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import tifffile
from PIL import Image

# What EXIF orientations do to the stored picture, and the stored picture of a shown one.
SHOWN = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
         5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1),
         7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: np.rot90}
STORED = {**SHOWN, 6: SHOWN[8], 8: SHOWN[6]}
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
          (1, 0, 2, 1))


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def png(samples: np.ndarray, bits: int = 8, palette=None, *, interlaced=False, transparency=b'',
        exif=b'', frames=0) -> bytes:
    """PNG of any depth from stored samples (H, W) or (H, W, 2..4); EXIF is behind the pixels."""
    array = samples[..., None] if samples.ndim == 2 else samples
    height, width, count = array.shape
    kind = 3 if palette is not None else {1: 0, 2: 4, 3: 2, 4: 6}[count]
    parts = [array[y::dy, x::dx] for y, x, dy, dx in _ADAM7] if interlaced else [array]
    rows = b''.join(b'\0' + _pack(row.ravel(), bits) for part in parts if part.size for row in part)
    chunks = [(b'IHDR', struct.pack('>IIBBBBB', width, height, bits, kind, 0, 0, interlaced))]
    chunks += [(b'acTL', struct.pack('>II', frames, 0))] * bool(frames)
    chunks += [(b'PLTE', np.array(palette, np.uint8).tobytes())] if palette is not None else []
    chunks += [(b'tRNS', transparency)] * bool(transparency) + [(b'IDAT', zlib.compress(rows))]
    chunks += [(b'eXIf', exif.removeprefix(b'Exif\0\0'))] * bool(exif) + [(b'IEND', b'')]
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
        for name, data in chunks)


def _pack(row: np.ndarray, bits: int) -> bytes:
    if bits >= 8:
        return row.astype('>u2' if bits == 16 else np.uint8).tobytes()
    ones = (row.astype(np.uint8)[:, None] >> np.arange(bits)[::-1]) & 1
    return np.packbits(ones.ravel()).tobytes()


def pillow(array: np.ndarray | Image.Image, format: str, **options) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(array) if isinstance(array, np.ndarray) else array
    image.save(stream, format, **options)
    return stream.getvalue()


def tiff(array: np.ndarray, orientation: int = 1, **options) -> bytes:
    stream = io.BytesIO()
    array = array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array
    rgb = array.ndim == 3 and array.shape[-1] in (3, 4)
    options.setdefault('photometric', 'rgb' if rgb else 'minisblack')
    if options.get('planarconfig') == 'separate':
        array = np.moveaxis(array, -1, 0)
    elif array.ndim == 3:
        options['planarconfig'] = 'contig'
    if array.ndim == 3 and array.shape[-1] == 4 and options['photometric'] == 'rgb':
        options.setdefault('extrasamples', ['unassalpha'])
    options['extratags'] = [(274, 3, 1, orientation, True)]
    tifffile.imwrite(stream, array, metadata=None, **options)
    return stream.getvalue()


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def webp(array: np.ndarray, **options) -> bytes:
    return pillow(array, 'WEBP', lossless=True, exact=True, **options)


def opencv_png(array: np.ndarray) -> bytes:
    return cv2.imencode('.png', array[..., ::-1])[1].tobytes()


def palette_image(indices: np.ndarray, colors) -> Image.Image:
    image = Image.fromarray(indices.astype(np.uint8))
    image.putpalette(np.array(colors, np.uint8).tobytes())
    return image


Encode = Callable[[np.ndarray], bytes]
# Of (H, W, 3) uint8 pictures.
RGB: dict[str, Encode] = {
    'PNG': png, 'PNG interlaced': lambda a: png(a, interlaced=True),
    'PNG opaque': lambda a: png(opaque(a)),
    'BMP': lambda a: pillow(a, 'BMP'), 'WebP': webp, 'WebP opaque': lambda a: webp(opaque(a)),
    'TIFF': tiff, 'TIFF opaque': lambda a: tiff(opaque(a)),
    'TIFF planes': lambda a: tiff(a, planarconfig='separate'),
    'TIFF tiles': lambda a: tiff(a, tile=(16, 16)),
    **{f'TIFF {name}': lambda a, name=name: tiff(a, compression=name)
       for name in ('zlib', 'lzw', 'packbits', 'zstd', 'lzma')},
    'TIFF predictor': lambda a: tiff(a, compression='lzw', predictor=True)}
# Of (H, W) uint8 pictures.
_COLORS_ONLY = ('PNG opaque', 'WebP opaque', 'TIFF opaque', 'TIFF planes', 'WebP')
GREY: dict[str, Encode] = {
    **{name: encode for name, encode in RGB.items() if name not in _COLORS_ONLY},
    'PNG alpha': lambda a: png(opaque(a[..., None])), 'NPY': npy,
    'NPY plane': lambda a: npy(a[..., None])}


def opaque(array: np.ndarray) -> np.ndarray:
    return np.concatenate([array, np.full_like(array[..., :1], 255)], -1)


def same_picture(colors: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Files that show (H, W, 3) uint8 colors, of every kind that can."""
    yield from ((name, encode(colors)) for name, encode in RGB.items())
    yield 'PNG 16-bit RGB', png(colors.astype(np.uint16) * 257, 16)
    for orientation in (3, 6):
        stored = np.ascontiguousarray(STORED[orientation](colors))
        yield f'PNG turned {orientation}', png(stored, exif=exif(orientation))
        yield f'TIFF turned {orientation}', tiff(stored, orientation)
        yield f'WebP turned {orientation}', webp(stored, exif=exif(orientation))
    table, indices = np.unique(colors.reshape(-1, 3), axis=0, return_inverse=True)
    if len(table) <= 256:
        yield from _palettes(table, indices.reshape(colors.shape[:2]), rng)
        yield 'PNG quantized', pillow(Image.fromarray(colors).quantize(len(table)), 'PNG')
    if (colors == colors[..., :1]).all():
        yield from _greys(colors[..., 0])


def _palettes(table: np.ndarray, indices: np.ndarray, rng: np.random.Generator
              ) -> Iterator[tuple[str, bytes]]:
    forward = np.arange(len(table))
    for name, order in (('sorted', forward), ('reversed', forward[::-1]),
                        ('shuffled', rng.permutation(len(table)))):
        moved, colors = np.argsort(order)[indices], table[order]
        yield f'PNG palette {name}', png(moved, palette=colors)
        bits = next(bits for bits in (1, 2, 4, 8) if len(table) <= 2 ** bits)
        yield f'PNG palette {name} {bits}-bit', png(moved, bits, colors)
        for kind in ('BMP', 'TIFF', 'PNG'):
            yield f'{kind} palette {name}', pillow(palette_image(moved, colors), kind)


def _greys(grey: np.ndarray) -> Iterator[tuple[str, bytes]]:
    yield from ((f'{name} of grey', encode(grey)) for name, encode in GREY.items())
    yield 'PNG 16-bit', png(grey.astype(np.uint16) * 257, 16)
    yield 'TIFF white-is-zero', tiff(255 - grey, photometric='miniswhite')
    for bits, step in ((1, 255), (2, 85), (4, 17)):
        if not (grey % step).any():
            yield f'PNG {bits}-bit', png(grey // step, bits)
    if not (grey % 255).any():
        yield 'BMP 1-bit', pillow(Image.fromarray(grey > 0), 'BMP')
        yield 'TIFF 1-bit', pillow(Image.fromarray(grey > 0), 'TIFF')
        yield 'TIFF fax', pillow(Image.fromarray(grey > 0), 'TIFF', compression='group4')
        yield 'TIFF 1-bit white-is-zero', tiff(grey == 0, photometric='miniswhite')


def same_values(values: np.ndarray) -> Iterator[tuple[str, bytes]]:
    """Files that store (H, W) integers, whatever they look like."""
    largest = values.max(initial=0)
    for kind in ('uint8', 'uint16', 'int16', 'int32', 'uint32', 'int64', 'uint64'):
        if largest <= np.iinfo(kind).max:
            yield f'NPY {kind}', npy(values.astype(kind))
            yield f'TIFF {kind}', tiff(values.astype(kind))
    yield 'PNG 16-bit', png(values.astype(np.uint16), 16)
    for bits in (1, 2, 4, 8):
        if largest < 2 ** bits:
            yield f'PNG {bits}-bit', png(values, bits)
    if largest <= 1:
        yield 'NPY bool', npy(values.astype(bool))
