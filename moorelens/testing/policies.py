"""Does a policy keep the contract of `RecurrentPolicy`? Each check says what is wrong in one sentence."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from moorelens.policies.base import RecurrentPolicy, identity
from moorelens.policies.config import PolicySpec

TOLERANCE = 1e-5
_BATCH = 5
_STEPS = 3


def check_policy(policy: RecurrentPolicy, *, seed: int = 0) -> None:
    """Raise `AssertionError` with all broken rules, one sentence each; return where the policy keeps the contract."""
    broken = []
    for check in CHECKS:
        try:
            check(policy, torch.Generator().manual_seed(seed))
        except AssertionError as error:
            broken.append(str(error))
        except Exception as error:
            broken.append(
                f"{check.__name__} could not be checked because the policy raised {type(error).__name__}: {error}."
            )
    assert not broken, "\n".join(broken)


class PolicyConformance:
    """A pytest mixin: subclass it as `TestMine(PolicyConformance)` and let `make_policy` return your policy."""

    def make_policy(self) -> RecurrentPolicy:
        """Return the policy to be checked."""
        raise NotImplementedError("A conformance test needs a policy: override make_policy in your test class.")

    def test_shapes(self) -> None:
        """Every method returns the shapes and types that the contract names."""
        check_shapes(self.make_policy(), torch.Generator().manual_seed(0))

    def test_batch_independence(self) -> None:
        """A row's results do not depend on the other rows."""
        check_batch_independence(self.make_policy(), torch.Generator().manual_seed(0))

    def test_determinism(self) -> None:
        """Equal inputs give equal outputs."""
        check_determinism(self.make_policy(), torch.Generator().manual_seed(0))

    def test_nothing_is_changed_in_place(self) -> None:
        """Inputs, weights and the initial state stay as they are."""
        check_nothing_mutated(self.make_policy(), torch.Generator().manual_seed(0))

    def test_gradients(self) -> None:
        """Gradients flow from the logits to the observations and through the memory."""
        check_gradients(self.make_policy(), torch.Generator().manual_seed(0))

    def test_memory(self) -> None:
        """The spec tells the truth about the state that the heads read."""
        check_spec(self.make_policy(), torch.Generator().manual_seed(0))


def check_shapes(policy: RecurrentPolicy, generator: torch.Generator) -> None:
    """Every method must return float32 of the shapes that the spec promises."""
    spec = policy.spec
    for batch in (1, _BATCH):
        state = policy.initial_state(batch)
        _shape(state, (batch, spec.state_size), "initial_state(B)", "(B, H)")
        features = policy.features(_observations(spec, batch, generator))
        _shape(features, (batch, spec.feature_size), "features(obs)", "(B, F)")
        state = policy.core(features, state)
        _shape(state, (batch, spec.state_size), "core(features, state)", "(B, H)")
        logits, value = policy.heads(state)
        _shape(logits, (batch, len(spec.action_names)), "the logits of heads(state)", "(B, A)")
        if value is not None:
            _shape(value, (batch,), "the value of heads(state)", "(B,)")
    start = policy.initial_state(_BATCH)
    assert torch.equal(start, start[:1].expand_as(start)), (
        "Every episode must begin in the same state and the rows of initial_state(B) differ: return one state repeated."
    )


def check_batch_independence(policy: RecurrentPolicy, generator: torch.Generator) -> None:
    """A row must not see its neighbours: alone and in a batch it must agree to 1e-5."""
    observations = [_observations(policy.spec, _BATCH, generator) for _ in range(_STEPS)]
    together = _run(policy, observations)
    for row in range(_BATCH):
        alone = _run(policy, [observation[row : row + 1] for observation in observations])
        for name in together:
            # Relative where the numbers are large: values of hundreds carry larger rounding errors than states do.
            size = max(1.0, float(together[name][row].abs().max()))
            gap = float((together[name][row] - alone[name][0]).abs().max()) / size
            assert gap <= TOLERANCE, (
                f"A row must not depend on its batch and the {name} of row {row} change by {gap:.2g} when it is "
                f"evaluated "
                "alone: batch statistics or a mixed-up axis are likely, so call eval() or keep rows apart."
            )


def check_determinism(policy: RecurrentPolicy, generator: torch.Generator) -> None:
    """Equal inputs must give equal outputs, and equal policies equal identities."""
    observations = [_observations(policy.spec, _BATCH, generator) for _ in range(_STEPS)]
    first, second = _run(policy, observations), _run(policy, observations)
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), (
            f"Equal inputs must give equal outputs and the {name} of two equal runs differ: dropout or sampling "
            f"inside the "
            "policy is likely, so call eval() and leave the choice of an action to the player."
        )
    assert policy.tensors(), (
        "A policy must list its weights in tensors() and the mapping is empty: return every tensor."
    )
    assert identity(policy) == identity(policy), (
        "A policy's identity must not change between two calls and it does: tensors() or spec vary, so return stored "
        "ones."
    )


def check_nothing_mutated(policy: RecurrentPolicy, generator: torch.Generator) -> None:
    """Inputs and weights must stay as they are: players and explainers evaluate the same state many times."""
    before = identity(policy)
    observation = _observations(policy.spec, _BATCH, generator)
    state = policy.core(policy.features(observation), policy.initial_state(_BATCH)).detach()
    kept = observation.clone(), state.clone(), policy.features(observation).detach().clone()
    features = policy.features(observation).detach()
    policy.heads(policy.core(features, state))
    assert torch.equal(observation, kept[0]), _mutated("the observations")
    assert torch.equal(state, kept[1]), _mutated("the state")
    assert torch.equal(features, kept[2]), _mutated("the features")
    assert identity(policy) == before, _mutated("the weights")
    first = policy.initial_state(_BATCH).clone()
    policy.core(features, policy.initial_state(_BATCH))
    assert torch.equal(policy.initial_state(_BATCH), first), _mutated("the initial state")


def check_gradients(policy: RecurrentPolicy, generator: torch.Generator) -> None:
    """Gradients must reach the observations; a policy with a memory must pass them through its state as well."""
    spec = policy.spec
    observation = _observations(spec, _BATCH, generator).requires_grad_()
    features = policy.features(observation)
    assert features.requires_grad, (
        "Saliency needs gradients from the features to the observations and there are none: do not detach or use "
        "no_grad "
        "inside the policy."
    )
    (pixels,) = torch.autograd.grad(features.sum(), observation, retain_graph=True)
    assert torch.isfinite(pixels).all(), "Gradients must be finite and those of the features are not: avoid roots of 0."
    if spec.cell == "none":
        return
    state = policy.core(policy.features(observation.detach()), policy.initial_state(_BATCH)).detach().requires_grad_()
    logits, _ = policy.heads(policy.core(features.detach(), state))
    (through,) = torch.autograd.grad(logits.sum(), state, allow_unused=True)
    assert through is not None and torch.isfinite(through).all() and bool((through != 0).any()), (
        "A policy with a memory must pass gradients from the logits to the state before and none arrive: the state is "
        "ignored or detached, so call the cell none in the spec or keep the graph."
    )


def check_spec(policy: RecurrentPolicy, generator: torch.Generator) -> None:
    """What the spec says of the state must be so."""
    spec = policy.spec
    names = spec.action_names
    assert names and len(set(names)) == len(names), (
        f"Actions must have names of their own and the spec lists {names}: give each action one name."
    )
    observation = _observations(spec, _BATCH, generator)
    features = policy.features(observation)
    state = policy.core(features, policy.initial_state(_BATCH))
    if spec.heads_read_features:
        tail = state[:, -spec.feature_size :]
        assert torch.allclose(tail, features, atol=TOLERANCE), (
            "With heads_read_features the last F entries of the state are the features of the step and they differ: "
            "append "
            "the features to the state in core."
        )
    if spec.cell == "none":
        one_hot = bool(((state == 0) | (state == 1)).all()) and bool((state.sum(dim=1) == 1).all())
        assert spec.state_size == len(names) and one_hot, (
            "The state of a memoryless policy is the one-hot greedy action and this one is not: set H = A and return "
            "it."
        )


CHECKS: tuple[Callable[[RecurrentPolicy, torch.Generator], None], ...] = (
    check_shapes,
    check_batch_independence,
    check_determinism,
    check_nothing_mutated,
    check_gradients,
    check_spec,
)


def _observations(spec: PolicySpec, batch: int, generator: torch.Generator) -> Tensor:
    shape = (batch, *spec.observation_shape)
    if spec.observation_dtype == "uint8":
        return torch.randint(256, shape, generator=generator).float() / 255
    return torch.randn(shape, generator=generator)


def _run(policy: RecurrentPolicy, observations: list[Tensor]) -> dict[str, Tensor]:
    state = policy.initial_state(len(observations[0]))
    with torch.no_grad():
        for observation in observations:
            features = policy.features(observation)
            state = policy.core(features, state)
        logits, value = policy.heads(state)
    found = {"features": features, "states": state, "logits": logits}
    return found if value is None else found | {"values": value}


def _shape(tensor: Tensor, wanted: tuple[int, ...], what: str, letters: str) -> None:
    assert isinstance(tensor, Tensor), (
        f"{what} must be a tensor {letters} and is a {type(tensor).__name__}: return a tensor."
    )
    assert tuple(tensor.shape) == wanted, (
        f"{what} must have the shape {letters} = {wanted} and has {tuple(tensor.shape)}: correct the method or the "
        f"spec."
    )
    assert tensor.dtype == torch.float32, f"{what} must be float32 and is {tensor.dtype}: convert it."
    assert torch.isfinite(tensor).all(), f"{what} must be finite and holds NaN or infinity: check the weights."


def _mutated(what: str) -> str:
    return (
        f"A policy must change nothing in place and {what} changed: replace operations such as x += y or x.relu_() "
        f"by ones "
        "that return a new tensor."
    )
