"""The example page runs an exported model in a real browser, if npm fetched onnxruntime-web."""

import functools
import http.server
import json
import pathlib
import shutil
import threading

import numpy as np
import pytest
from PIL import Image

import jaxseg
from jaxseg.commands import main
from jaxseg.data.spec import DatasetSpec
from tests.browser import CHROMIUM, chromium
from tests.workdirs import write_workdir

EXAMPLE = pathlib.Path(__file__).parents[1] / 'examples/browser'
PACKAGES = EXAMPLE / 'node_modules'
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or not (PACKAGES / 'onnxruntime-web').is_dir(),
    reason='needs chromium, and npm install in examples/browser')
DROP = '''(async () => {
  const data = new DataTransfer();
  data.items.add(new File([await (await fetch(NAME)).arrayBuffer()], NAME, {type: "image/png"}));
  document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true}));
})()'''
MASK = '''(() => {
  const canvas = document.getElementById("mask"), {width, height} = canvas;
  const pixels = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  return [width, height, Array.from(pixels)];
})()'''
STATUS = 'document.getElementById("status").textContent'


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Prints no line for each request."""

    def log_message(self, *_):
        """Nothing."""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """The page with a model and a picture, and the prediction for it."""
    folder = tmp_path_factory.mktemp('page')
    spec = DatasetSpec('a', ('sky', 'road', 'a <b> & c'))
    work = write_workdir(folder / 'work', spec)
    assert main(['export', f'--workdir={work}', '--format=onnx',
                 f'--output={folder}/model.onnx']) == 0
    shutil.copy(EXAMPLE / 'index.html', folder)
    (folder / 'node_modules').symlink_to(PACKAGES)
    picture = np.random.default_rng(0).integers(0, 256, (101, 131, 3), np.uint8)
    Image.fromarray(picture).save(folder / 'picture.png')
    (folder / 'broken.png').write_text('no picture')
    return folder, picture, np.array(spec.colors), jaxseg.load(work)(picture)


@pytest.fixture(scope='module')
def address(folder):
    server = http.server.ThreadingHTTPServer(
        ('127.0.0.1', 0), functools.partial(Quiet, directory=folder[0]))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f'http://127.0.0.1:{server.server_port}/'
    server.shutdown()
    thread.join()
    server.server_close()


def drop(page, name):
    """Drops a file of the folder on the page, and waits for the answer."""
    before = page.run(STATUS)
    page.run(DROP.replace('NAME', json.dumps(name)))
    for _ in range(600):
        status = page.run(f'new Promise(done => setTimeout(() => done({STATUS}), 100))')
        if status not in (before, 'Computing...') and not status.startswith('Loading'):
            return status
    raise AssertionError(status)


def test_a_dropped_picture_shows_the_mask_of_predict(folder, address):
    _, picture, colors, wanted = folder
    with chromium() as browser:
        page = browser.open(address)
        for _ in range(600):
            if 'Drop a picture' in page.run(
                    f'new Promise(done => setTimeout(() => done({STATUS}), 100))'):
                break
        assert page.run(STATUS) == 'model.onnx: 3 classes. Drop a picture.'
        assert drop(page, 'picture.png').startswith('picture.png: 131 x 101, ')
        width, height, pixels = page.run(MASK)
        found = np.array(pixels, np.uint8).reshape(height, width, 4)
        np.testing.assert_array_equal(found[..., :3], colors[wanted])
        assert (found[..., 3] == 255).all() and len(np.unique(wanted)) > 1
        legend = page.run('[...document.querySelectorAll("#legend li")].map(e => e.textContent)')
        assert legend == [f'{name} {100 * (wanted == index).mean():.1f} %'
                          for index, name in enumerate(('sky', 'road', 'a <b> & c'))]
        assert drop(page, 'broken.png').startswith('broken.png: ')
        assert all(request.startswith((address, 'blob:')) for request in page.requests())
        assert not page.errors()
