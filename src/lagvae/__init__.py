"""lagvae: latent-variable models as constrained problems.

State the problem (*maximise the mutual information subject to neg_elbo <= 86*); the Lagrange
multipliers are learned while the model trains. Importing this package changes nothing: names are
loaded when first used.

    >>> import lagvae as lv
    >>> solution = lv.fit("max mi s.t. neg_elbo <= 105, mmd <= 5e-4", "mnist", out="runs/first")
    >>> solution.status, solution.multipliers
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Bernoulli": "lagvae.model.likelihoods.bernoulli",
    "CheckpointError": "lagvae.errors",
    "Data": "lagvae.data.dataset",
    "DataError": "lagvae.errors",
    "Diagnosis": "lagvae.training.outcome.diagnosis",
    "Estimate": "lagvae.evaluation.estimate",
    "Evaluation": "lagvae.evaluation.evaluate",
    "LagvaeError": "lagvae.errors",
    "MLPDecoder": "lagvae.model.networks",
    "MLPEncoder": "lagvae.model.networks",
    "Maximize": "lagvae.problem.problem",
    "Minimize": "lagvae.problem.problem",
    "Probe": "lagvae.training.probe",
    "Problem": "lagvae.problem.problem",
    "ProblemError": "lagvae.errors",
    "SettingError": "lagvae.errors",
    "ShapeError": "lagvae.errors",
    "Solution": "lagvae.training.outcome.solution",
    "SolveError": "lagvae.errors",
    "Status": "lagvae.training.outcome.solution",
    "Term": "lagvae.terms.term",
    "VAE": "lagvae.model.vae",
    "best": "lagvae.terms.algebra",
    "beta_vae": "lagvae.problem.presets",
    "distortion": "lagvae.terms.elbo",
    "evaluate": "lagvae.training.evaluate",
    "fit": "lagvae.training.fit",
    "fit_front": "lagvae.front.fit_front",
    "geco": "lagvae.problem.presets",
    "info_vae": "lagvae.problem.presets",
    "interpolations": "lagvae.report.latent",
    "lag_vae": "lagvae.problem.presets",
    "load": "lagvae.training.load",
    "load_front": "lagvae.front.fit_front",
    "log_likelihood": "lagvae.evaluation.likelihood.importance",
    "mdr": "lagvae.problem.presets",
    "mmd": "lagvae.terms.mmd",
    "mutual_information": "lagvae.terms.information",
    "neg_elbo": "lagvae.terms.elbo",
    "neg_iwae": "lagvae.terms.importance",
    "open_data": "lagvae.data.dataset",
    "probe": "lagvae.training.probe",
    "rate": "lagvae.terms.elbo",
    "reconstructions": "lagvae.report.latent",
    "term": "lagvae.terms.term",
    "traversals": "lagvae.report.latent",
    "vae": "lagvae.problem.presets",
}

__all__ = [
    "VAE",
    "Bernoulli",
    "CheckpointError",
    "Data",
    "DataError",
    "Diagnosis",
    "Estimate",
    "Evaluation",
    "LagvaeError",
    "MLPDecoder",
    "MLPEncoder",
    "Maximize",
    "Minimize",
    "Probe",
    "Problem",
    "ProblemError",
    "SettingError",
    "ShapeError",
    "Solution",
    "SolveError",
    "Status",
    "Term",
    "best",
    "beta_vae",
    "distortion",
    "evaluate",
    "fit",
    "fit_front",
    "geco",
    "info_vae",
    "interpolations",
    "lag_vae",
    "load",
    "load_front",
    "log_likelihood",
    "mdr",
    "mmd",
    "mutual_information",
    "neg_elbo",
    "neg_iwae",
    "open_data",
    "probe",
    "rate",
    "reconstructions",
    "term",
    "traversals",
    "vae",
]

if TYPE_CHECKING:
    from lagvae.data.dataset import Data, open_data
    from lagvae.errors import (
        CheckpointError,
        DataError,
        LagvaeError,
        ProblemError,
        SettingError,
        ShapeError,
        SolveError,
    )
    from lagvae.evaluation.estimate import Estimate
    from lagvae.evaluation.evaluate import Evaluation
    from lagvae.evaluation.likelihood.importance import log_likelihood
    from lagvae.front.fit_front import fit_front, load_front
    from lagvae.model.likelihoods.bernoulli import Bernoulli
    from lagvae.model.networks import MLPDecoder, MLPEncoder
    from lagvae.model.vae import VAE
    from lagvae.problem.presets import beta_vae, geco, info_vae, lag_vae, mdr, vae
    from lagvae.problem.problem import Maximize, Minimize, Problem
    from lagvae.report.latent import interpolations, reconstructions, traversals
    from lagvae.terms.algebra import best
    from lagvae.terms.elbo import distortion, neg_elbo, rate
    from lagvae.terms.importance import neg_iwae
    from lagvae.terms.information import mutual_information
    from lagvae.terms.mmd import mmd
    from lagvae.terms.term import Term, term
    from lagvae.training.evaluate import evaluate
    from lagvae.training.fit import fit
    from lagvae.training.load import load
    from lagvae.training.outcome.diagnosis import Diagnosis
    from lagvae.training.outcome.solution import Solution, Status
    from lagvae.training.probe import Probe, probe


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lagvae' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
