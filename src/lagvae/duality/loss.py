"""The Lagrangian for a training loop of somebody else's: a draw in, a loss out, and multipliers that move."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed
from jaxtyping import Float
from torch import Tensor, nn

from lagvae.duality.lagrangian import Lagrangian
from lagvae.duality.rule import DualRule
from lagvae.duality.rules import DualRuleFactory, build_rule, rule_from
from lagvae.duality.start import MANY
from lagvae.errors import CheckpointError, ProblemError, expected
from lagvae.model.draw import Draw
from lagvae.problem.problem import Problem
from lagvae.settings import DualSettings
from lagvae.terms.term import Term


class LagrangianLoss(nn.Module):
    """L(θ, λ) of a batch as a module: its state is the multipliers', so that any checkpoint of its owner holds them.

        loss = LagrangianLoss("max mi s.t. neg_elbo <= 86")
        loss(model.draw(x, streams)).backward(); optimizer.step()
        loss.ascend(progress=step / steps)

    Batches whose gradients are added up before a step are one to the multipliers as well; and where processes train
    one model together (``torch.distributed``), they ascend by the mean over all of them, alike.

    Args:
        problem: A problem or its text, every bound a number.
        dual: A rule's name, its settings, or a function of the problem that returns one.
        balance: Whether the loss is divided by the sum of its weights: multipliers do not act as learning rates then.
        latent_dim: The model's, where the default rule is to start as ``fit`` starts it.

    Attributes:
        problem: What is solved.
        steps: How often the multipliers moved.

    Raises:
        ProblemError: The text is no problem, or a bound is relative to ``best``.
        SettingError: There is no such rule.
    """

    def __init__(
        self,
        problem: Problem | str,
        *,
        dual: str | DualSettings | DualRuleFactory = "forecast",
        balance: bool = True,
        latent_dim: int = MANY,
    ) -> None:
        super().__init__()
        self.problem = Problem.parse(problem) if isinstance(problem, str) else problem
        self.balance = balance
        self.steps = 0
        self._lagrangian = Lagrangian(self.problem)
        self._dual = DualSettings(dual=dual) if isinstance(dual, str) else dual
        self._latent_dim = latent_dim
        self._begun_from: dict[str, float] | None = None
        self._rule = self._build_rule()
        self._device = torch.device("cpu")
        self._values = torch.zeros(len(self._lagrangian.terms))
        self._seen: list[Float[Tensor, " constraints"]] = []

    @property
    def names(self) -> tuple[str, ...]:
        """The constraints' names, in order."""
        return self.problem.names

    @property
    def terms(self) -> tuple[Term, ...]:
        """What is measured of a draw."""
        return self._lagrangian.terms

    @property
    def rule(self) -> DualRule:
        """What moves the multipliers."""
        return self._rule

    @property
    def multipliers(self) -> dict[str, float]:
        """Constraint's name → λ."""
        return dict(zip(self.names, self._rule.multipliers[0].tolist(), strict=True))

    def forward(self, draw: Draw) -> Float[Tensor, ""]:
        """Returns the Lagrangian's weighted terms on a draw; remembers its violations until the next :meth:`ascend`.

        In eval mode nothing is remembered.
        """
        self._move(draw.z.device)
        with torch.autocast(draw.z.device.type, enabled=False):  # networks may be in half precision; sums are not
            values = self._lagrangian.measure(draw)
            violations = self._lagrangian.violations(values.detach())
            weights = self._lagrangian.weights(self._rule.primal_multipliers(violations[None]))[0]
            loss = values @ weights
            if self.balance:
                units = torch.tensor([term.unit for term in self._lagrangian.terms], device=self._device)
                loss = loss / (weights.abs() @ units).clamp_min(1e-12)
        self._values = values.detach()
        if self.training:
            self._seen.append(violations)
        return loss

    @torch.no_grad()
    def ascend(self, *, progress: float) -> None:
        """Moves the multipliers by what was seen since the last time; nothing seen, nothing moved.

        Args:
            progress: Share of the run that is done, in (0, 1], larger than the last time.
        """
        if not self._seen:
            return
        violations = torch.stack(self._seen).mean(0)
        self._seen.clear()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(violations)
            violations = violations / torch.distributed.get_world_size()
        self._rule.update(violations[None], progress=progress)
        self.steps += 1

    def begin(self) -> None:
        """Begins another run where the last one ended: with its multipliers, and with the share of the run at 0 again.

        Only the default rule goes by that share; of others nothing changes.
        """
        self.steps = 0
        self._seen.clear()
        if isinstance(self._dual, DualSettings) and self._dual.dual == "forecast":
            self._begin_from(self.multipliers)

    def scalars(self) -> dict[str, Tensor]:
        """Returns the last draw's terms and violations, and the multipliers and weights, by names with a slash."""
        lagrangian, multipliers = self._lagrangian, self._rule.multipliers[0]
        violations, weights = lagrangian.violations(self._values), lagrangian.weights(multipliers[None])[0]
        terms = [str(term) for term in lagrangian.terms]
        found = {f"terms/{name}": value for name, value in zip(terms, self._values, strict=True)}
        found["terms/neg_elbo"] = self._values[0] + self._values[1]
        found |= {f"violation/{name}": value for name, value in zip(self.names, violations, strict=True)}
        found |= {f"multiplier/{name}": value for name, value in zip(self.names, multipliers, strict=True)}
        found |= {f"weight/{name}": value for name, value in zip(terms, weights, strict=True)}
        # Clones: a rule moves its multipliers in place, and a logger may look later.
        return {name: value.clone() for name, value in found.items()}

    def get_extra_state(self) -> dict[str, Any]:
        """Returns what :meth:`ascend` changes, for ``state_dict``."""
        rule = self._rule.state_dict()
        kind, begun_from = type(self._rule).__name__, self._begun_from
        return {"problem": str(self.problem), "steps": self.steps, "kind": kind, "rule": rule, "begun_from": begun_from}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Puts the multipliers back.

        Raises:
            ProblemError: They are of another problem.
            CheckpointError: They are another rule's.
        """
        if state["problem"] != str(self.problem):
            raise ProblemError(
                expected(f"'{self.problem}'", got=f"the state of '{state['problem']}'", fix="that problem")
            )
        own = type(self._rule).__name__
        if state.get("kind", own) != own:
            raise CheckpointError(expected(f"the state of {own}", got=f"that of {state['kind']}", fix="the same dual"))
        self.steps = state["steps"]
        if self._begun_from != state.get("begun_from"):
            self._begin_from(state["begun_from"])
        self._rule.load_state_dict(state["rule"])

    def _build_rule(self) -> DualRule:
        if not isinstance(self._dual, DualSettings):
            return self._dual(self.problem)
        if self._begun_from is None:
            return build_rule(self.problem, self._dual, latent_dim=self._latent_dim)
        return rule_from(self.problem, self._dual, self._begun_from, latent_dim=self._latent_dim)

    def _begin_from(self, multipliers: dict[str, float] | None) -> None:
        self._begun_from = multipliers
        self._rule = self._build_rule()
        self._rule.to(self._device)

    def _move(self, device: torch.device) -> None:
        if device != self._device:
            self._device = device
            with torch.inference_mode(mode=False):  # a validation may be the first to ask; a rule moves in place
                self._rule.to(device)
                self._lagrangian = Lagrangian(self.problem, device)
