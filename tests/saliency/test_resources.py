"""What saliency needs of a machine: memory that does not grow with the steps, no network, no further libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import resource, socket, sys

def refuse(*_, **__):
    raise AssertionError("saliency opened a socket")

socket.socket.connect = socket.getaddrinfo = refuse

import torch
from moorelens.saliency import causal_curve, class_score, constant, make_explainer

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

torch.set_num_threads(1)
model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 16, 3, stride=2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
    torch.nn.Linear(16, 4),
).eval()
x = torch.rand(2, 3, 56, 56)
score = class_score(model, 1)

def run(method, name, count):
    return make_explainer(method, **{name: count}).attribute(x, score, constant(0.0), max_batch=16)

few = {}
for method, name in (("integrated_gradients", "steps"), ("smoothgrad", "samples"), ("rise", "masks")):
    run(method, name, 10)
    few[method] = peak()
    found = run(method, name, 500)
    assert found.largest_batch <= 16
    assert peak() < 1.2 * few[method], f"{method}: {few[method]} KiB with 10 and {peak()} KiB with 500"
causal_curve(x, x * 0, score, saliency=found.saliency(), max_batch=16)
foreign = {"cv2", "seaborn", "matplotlib", "graphviz", "pygraphviz", "captum", "sklearn", "torchvision", "gymnasium"}
assert not foreign & set(sys.modules), foreign & set(sys.modules)
"""


def test_memory_does_not_grow_with_the_steps_and_nothing_foreign_is_used() -> None:
    """spec-saliency 14.28 and 14.29, in a process of its own, whose peak memory is the kernel's figure."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
