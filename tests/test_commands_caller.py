"""The program that calls `jaxseg.run`: a script without a check of its name, a notebook."""

import pathlib
import subprocess
import sys

import pytest

import jaxseg
from jaxseg.commands import training
from jaxseg.data.synthetic import Shapes
from tests import runs
from tests.algorithms import RUN

ROOT = pathlib.Path(__file__).parents[1]
# What workers that read data do to a script: they import it under another name, and all of it runs.
SCRIPT = '''
import multiprocessing
import jaxseg

if __name__ == '__main__':
    worker = multiprocessing.get_context('spawn').Process(target=print)
    worker.start()
    worker.join()
else:
    jaxseg.run(workdir='work')
'''


def test_a_worker_that_imports_a_script_does_not_train(tmp_path):
    (tmp_path / 'script.py').write_text(SCRIPT)
    result = subprocess.run([sys.executable, 'script.py'], cwd=tmp_path, capture_output=True,
                            text=True, env=runs.environment(PYTHONPATH=str(ROOT)))
    assert "put the call under if __name__ == '__main__':" in result.stderr, result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ['script.py']


@pytest.mark.parametrize('finished', [True, False])
def test_no_command_names_parts_that_a_notebook_defines(tmp_path, monkeypatch, capsys, finished):
    dataset = Shapes(size=(32, 32), samples={'train': 1, 'val': 1})
    monkeypatch.setattr(training, 'train_in', lambda *_: training.Trained(dataset, 1, finished))
    losses = {'own': {'type': '__main__:loss'}}
    assert jaxseg.run(**{**RUN, 'losses': losses}, workdir=tmp_path) == finished
    out = capsys.readouterr().out
    assert 'move them to a file' in out and '%%writefile my_parts.py' in out
    assert '--' not in out
