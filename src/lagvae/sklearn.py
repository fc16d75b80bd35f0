"""lagvae as a scikit-learn estimator: tables in, codes out, in pipelines and grid searches.

>>> from lagvae.sklearn import LagVAE
>>> model = LagVAE("max mi s.t. neg_elbo <= best + 4", n_components=8, random_state=0).fit(X)
>>> codes, again, scores = model.transform(X), model.inverse_transform(codes), model.score_samples(X)
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from torch import Tensor

from lagvae.data.arrays import build_examples
from lagvae.data.dataset import Data
from lagvae.data.examples import Examples
from lagvae.errors import DataError, SettingError, SolveError, expected
from lagvae.evaluation.evaluate import Evaluation
from lagvae.evaluation.likelihood.importance import ImportanceWeights
from lagvae.evaluation.visits import check_count, evaluating
from lagvae.model.vae import VAE
from lagvae.problem.problem import Problem
from lagvae.settings import Settings
from lagvae.streams import Streams, derive_seed
from lagvae.training.fit import fit
from lagvae.training.outcome.solution import Solution, Status
from lagvae.training.portable import pack, unpack

BLOCK = 1000
"""Rows that are encoded or decoded at once."""
SCORED, DRAWN = 100, 16
"""Rows that are scored at once, and draws of each: a constant number of draws at a time keeps memory constant."""


class LagVAE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]  # untyped bases
    """A latent-variable model of the rows of a table, trained as a constrained problem.

    Columns of different scales are standardised inside and come back in their own units. Which p(x|z) scores them
    follows from the values (``likelihood="auto"``, see the table in the documentation): bits, counts, real numbers.
    A row's code is the mean of q(z|x).

    Args:
        problem: A :class:`~lagvae.problem.problem.Problem`, or its text. Bounds relative to ``best`` cost a second
            training. mmd in its unbiased form, as here, has no floor that depends on the batch.
        n_components: Dimensions of the code: the setting ``latent_dim``.
        hidden: Widths of the encoder's hidden layers; the decoder mirrors them.
        likelihood: p(x|z), or ``"auto"``.
        epochs: Passes over the rows.
        batch_size: Rows per step; all of them where there are fewer.
        learning_rate: Highest learning rate.
        event_shape: Shape of one example where a row is one flattened, e.g. ``(1, 28, 28)``; the row itself if None.
        settings: Any other setting of ``lagvae.fit`` by name, e.g. ``{"activation": "relu", "held_out": 0.2}``.
        random_state: A seed, a ``RandomState``, or None for another run each time.
        verbose: Whether to show the training.

    Attributes:
        solution_: The :class:`~lagvae.training.outcome.solution.Solution`: status, multipliers, diagnosis, model.
        evaluation_: Its estimates on the training rows, each with a standard error.
        likelihood_: The name of the p(x|z) that was taken.
        n_features_in_: Columns of the table.
        feature_names_in_: Their names, where the table had any.

    A run that ends infeasible warns (``ConvergenceWarning``), with the bounds that were missed; one that diverges
    raises ``SolveError``. Pickles hold the library's own files: a configuration, safetensors, and the results.

    There is no ``partial_fit``: the learning rate's schedule and the default dual rule go by the share of a run that is
    done, and a Gaussian's scale by the whole table. ``lagvae.fit(start=solution_)`` goes on from a solution.
    """

    def __init__(
        self,
        problem: Problem | str = "max mi s.t. neg_elbo <= best + 4, mmd(estimator=unbiased) <= 5e-4",
        *,
        n_components: int = 16,
        hidden: Sequence[int] = (256, 256),
        likelihood: str = "auto",
        epochs: int = 30,
        batch_size: int = 250,
        learning_rate: float = 2e-3,
        event_shape: Sequence[int] | None = None,
        settings: Mapping[str, Any] | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.problem = problem
        self.n_components = n_components
        self.hidden = hidden
        self.likelihood = likelihood
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.event_shape = event_shape
        self.settings = settings
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Trains the model on the rows of a table.

        Args:
            X: ``[rows, columns]`` of numbers, or a data frame.
            y: Ignored.

        Raises:
            ProblemError: The problem is not one.
            SettingError: A setting is unknown or out of range.
            DataError: The likelihood cannot score the table.
            SolveError: The training diverged.
        """
        X = validate_data(self, X, dtype="numeric", ensure_min_samples=2)
        self._is_uint8 = X.dtype == np.uint8
        rows = self._examples(X)
        own = {
            "latent_dim": self.n_components,
            "hidden": tuple(self.hidden) if isinstance(self.hidden, Iterable) else self.hidden,
            "likelihood": self.likelihood,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "seed": int(check_random_state(self.random_state).randint(2**31 - 1)),
        }
        if twice := [name for name in self.settings or {} if name in own]:
            raise SettingError(expected("other settings than LagVAE's own", got=twice[0], fix="LagVAE's argument"))
        settings = Settings().replace(**{"precision": "float32", **(self.settings or {}), **own})
        # Every row is learned from: what is unseen is the caller's to keep aside, by train_test_split or a search.
        solution = fit(self.problem, Data("", rows, rows), settings=settings, progress=self.verbose)
        if solution.status is Status.STOPPED:
            raise KeyboardInterrupt  # a search would take any other for a fit that failed, and go on
        if solution.status is Status.DIVERGED:
            raise SolveError(solution.message)
        if solution.status is Status.INFEASIBLE:
            warnings.warn(solution.message, ConvergenceWarning, stacklevel=2)
        solution.data = None
        if solution.evaluation is not None:
            kept = {part: found for part, found in solution.evaluation.estimates.items() if part != "test"}
            solution.evaluation = Evaluation(solution.evaluation.problem, kept)
        self.solution_ = solution
        return self

    @property
    def evaluation_(self) -> Evaluation | None:
        """Estimates on the rows that were learned from."""
        return self._fitted().evaluation

    @property
    def likelihood_(self) -> str:
        """The name of the p(x|z) that was taken."""
        return self._fitted().model.likelihood.name

    def transform(self, X: Any) -> np.ndarray:
        """Returns the code of every row, ``[rows, n_components]``: the mean of q(z|x)."""
        model, rows = self._fitted().model, self._rows(X)
        with evaluating(model):
            return self._join([model.encode(block) for block in self._prepared(rows, BLOCK)], X)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Returns E[x|z] for codes ``[rows, n_components]``, in the units of the table: bytes in 0..255."""
        model = self._fitted().model
        codes = check_array(X, dtype=[np.float64, np.float32], input_name="X")
        if codes.shape[1] != self.n_components:
            raise DataError(
                expected(f"codes of {self.n_components} columns", got=f"{codes.shape[1]}", fix="what transform returns")
            )
        blocks, unit = torch.from_numpy(codes).float().split(BLOCK), self._unit
        with evaluating(model):
            return self._join([model.decode(block).flatten(1) * unit for block in blocks], X)

    def score_samples(self, X: Any, *, draws: int = 100) -> np.ndarray:
        """Returns a lower bound of log p(x) for every row, in nats: importance sampling with so many draws.

        Bias: lower, the less the more draws. Every row sees the same noise: its score does not depend on the other
        rows, and the errors of different rows are alike.

        Args:
            X: Rows of the table.
            draws: K, per row.

        Raises:
            SettingError: ``draws`` is no positive whole number.

        Source: [Burda2016], equation 8.
        """
        check_count(draws, "draw per row")
        model, rows = self._fitted().model, self._rows(X)
        found = []
        with evaluating(model):
            for block in self._prepared(rows, SCORED):
                found.append(_log_likelihood(model, block, draws))
        return torch.cat(found).double().cpu().numpy()

    def score(self, X: Any, y: Any = None) -> float:
        """Returns the mean of :meth:`score_samples`: what a grid search maximises."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, *, random_state: int | np.random.RandomState | None = None) -> np.ndarray:
        """Draws rows x ~ p(x|z), z ~ p(z), in the units of the table: where it holds bytes, the nearest ones.

        Raises:
            SettingError: ``n_samples`` is no positive whole number.
        """
        check_count(n_samples, "sample")
        model = self._fitted().model
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        streams, drawn = Streams(seed, model.device), []
        with evaluating(model):
            for size in torch.ones(n_samples).split(BLOCK):
                z = torch.randn(len(size), self.n_components, generator=streams.prior, device=model.device)
                drawn.append(model.simulate(model.prior.place(z), streams.posterior).flatten(1))
        rows = torch.cat(drawn).double() * self._unit
        return (rows.round().clamp(0, 255) if self._is_uint8 else rows).cpu().numpy()

    @property
    def _unit(self) -> float:
        """What a table's values are divided by to be scored: bytes as intensities are, as counts they are not."""
        if not self._is_uint8:
            return 1.0
        scored = self._fitted().model.likelihood.prepare(torch.tensor([[255]], dtype=torch.uint8), torch.Generator())
        return 255.0 if scored.item() <= 1 else 1.0

    @property
    def _n_features_out(self) -> int:
        return self.n_components

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "solution_")

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "solution_" in state:
            state["solution_"] = pack(self.solution_)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "solution_" in state:
            state = {**state, "solution_": unpack(state["solution_"])}
        super().__setstate__(state)

    def _fitted(self) -> Solution:
        check_is_fitted(self)
        return self.solution_

    def _rows(self, X: Any) -> Examples:
        return self._examples(validate_data(self, X, dtype="numeric", reset=False))

    def _examples(self, X: np.ndarray) -> Examples:
        """Returns a table's rows: bytes if the model was fitted to bytes, else numbers that mean themselves."""
        if self._is_uint8 and X.dtype != np.uint8:
            if not np.array_equal(X, np.clip(np.rint(X), 0, 255)):
                fix = "the values as they were given to fit"
                raise DataError(expected("bytes, as the model was fitted to", got=f"{X.dtype} beyond them", fix=fix))
            X = X.astype(np.uint8)
        if not self._is_uint8 and X.dtype.kind in "bu":
            X = X.astype(np.float32)
        rows = build_examples(X, where="X")
        if self.event_shape is None:
            return rows
        shape = tuple(self.event_shape) if isinstance(self.event_shape, Iterable) else (self.event_shape,)
        if int(np.prod(shape)) != X.shape[1]:
            got = f"{X.shape[1]} columns"
            raise DataError(expected(f"rows that fold to event_shape {shape}", got=got, fix="another event_shape"))
        assert isinstance(rows.values, Tensor)
        return Examples(rows.values.unflatten(1, shape))

    def _prepared(self, rows: Examples, size: int) -> list[Tensor]:
        """Returns the rows as the likelihood scores them, each with the same random numbers (bits from grey values)."""
        model, seed = self._fitted().model, derive_seed(0, "prepare")
        assert isinstance(rows.values, Tensor)
        raw = rows.values.to(model.device)
        generator = torch.Generator(model.device).manual_seed(seed)
        before = generator.get_state()
        first = model.likelihood.prepare(raw[:1], generator)
        if torch.equal(before, generator.get_state()):  # nothing random about it
            return [model.likelihood.prepare(block, generator) for block in raw.split(size)]
        rest = [model.likelihood.prepare(row[None], generator.manual_seed(seed)) for row in raw[1:]]
        return list(torch.cat([first, *rest]).split(size))

    @staticmethod
    def _join(blocks: Sequence[Tensor], like: Any) -> np.ndarray:
        """Returns blocks as one array, float32 where that came in."""
        dtype = np.float32 if getattr(like, "dtype", None) == np.float32 else np.float64
        return torch.cat(list(blocks)).cpu().numpy().astype(dtype)


@torch.inference_mode()
def _log_likelihood(model: VAE, x: Tensor, draws: int) -> Tensor:
    """Returns log (1/K) Σ_k p(x|z_k) p(z_k) / q(z_k|x) with the same K noises for every row."""
    x, posterior = x.flatten(1), model.posterior(x)
    generator = torch.Generator(x.device).manual_seed(derive_seed(0, "score_samples"))
    weights = ImportanceWeights()
    while weights.samples < draws:
        size = min(DRAWN, draws - weights.samples)
        noise = torch.randn(size, 1, model.latent_dim, generator=generator, device=x.device)
        z = posterior.at(noise.expand(-1, len(x), -1))
        parameters = model.decoder(z.flatten(0, 1)).flatten(1).unflatten(0, z.shape[:2])
        log_joint = model.likelihood.log_prob(parameters, x.expand(size, *x.shape)) + model.prior.log_prob(z)
        weights.add(log_joint - posterior.log_prob(z))
    return weights.log_mean
