"""Sharing a trained model on the Hugging Face hub, or as a folder: ``pip install "lagvae[hub]"``.

>>> from lagvae.hub import Pretrained
>>> Pretrained(solution).save_pretrained("models/mine")
>>> Pretrained.from_pretrained("models/mine").solution.model.sample(64)
>>> Pretrained(solution).push_to_hub("me/mine")
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

try:
    from huggingface_hub import ModelCard, ModelCardData, ModelHubMixin, snapshot_download
except ImportError as error:
    raise ImportError('expected huggingface-hub, got no such package; try pip install "lagvae[hub]"') from error

from lagvae.errors import CheckpointError, expected
from lagvae.evaluation.estimate import Estimate
from lagvae.model.vae import VAE
from lagvae.storage.files import write_whole
from lagvae.training.outcome.solution import Solution
from lagvae.training.portable import FILES, pack, unpack

REPORTED = ("distortion", "rate", "neg_elbo", "mmd_biased", "mmd_unbiased")
"""Estimates that a model card lists, of those that a run ends with."""


class Pretrained(ModelHubMixin, library_name="lagvae", tags=["vae", "latent-variable-model"]):
    """A solution that can be saved, pushed and read back: three plain files and a model card, no pickle.

    Args:
        solution: What ``fit`` or ``load`` returned.

    Attributes:
        solution: The same; after ``from_pretrained`` without its log and its data.
    """

    def __init__(self, solution: Solution) -> None:
        self.solution = solution
        # What the mixin would write into config.json are the arguments; ours stand in config.yaml.
        self._hub_mixin_config = None

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """Returns a card with the problem, its bounds and multipliers, and what was measured."""
        data = ModelCardData(library_name="lagvae", tags=["vae", "latent-variable-model"])
        return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{describe(self.solution)}")

    def _save_pretrained(self, save_directory: Path) -> None:
        for name, content in pack(self.solution).items():
            write_whole(save_directory / name, content)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, model: VAE | None = None, **options: Any
    ) -> Self:
        """Reads a folder, or what the hub has under that name.

        Args:
            pretrained_model_name_or_path: A folder, or ``owner/name`` on the hub.
            model: A model of one's own making, where it was given to ``fit``; its weights are replaced.
            **options: Of ``huggingface_hub.snapshot_download``: revision, token, cache_dir, ...

        Raises:
            CheckpointError: There is no such folder or model, or a file is missing or damaged.
        """
        # The mixin's own would ask for a config.json first, which there is none of.
        folder = Path(pretrained_model_name_or_path)
        if not folder.is_dir():
            try:
                name = str(pretrained_model_name_or_path)
                folder = Path(snapshot_download(name, allow_patterns=list(FILES), **options))
            except (OSError, ValueError) as error:  # no such name, no such model, no network
                reason = " ".join(str(error).split())[:200]
                fix = "the path of a folder that save_pretrained wrote, or owner/name of a model on the hub"
                raise CheckpointError(expected(f"a model at '{name}'", got=reason, fix=fix)) from error
        found = {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}
        return cls(unpack(found, model=model))


def describe(solution: Solution) -> str:
    """Returns the text of a model card: what was asked for, how it ended, what was measured, how to use it."""
    parts = [
        "# A latent-variable model trained by lagvae",
        f"    {solution.problem}",
        f"Status: {solution.status} ({solution.message}).",
    ]
    if solution.multipliers:
        rows = [
            f"| `{constraint}` | {solution.multipliers[name]:.4g} | {solution.violations[name]:+.4g} |"
            for name, constraint in solution.problem.constraints.items()
        ]
        parts.append("\n".join(["| bound | multiplier | violation (≤ 0 holds) |", "| --- | ---: | ---: |", *rows]))
    if solution.evaluation is not None:
        found = solution.evaluation.estimates
        names = [name for name in REPORTED if all(name in estimates for estimates in found.values())]
        cells = [
            [f"{name} ({_unit(found['train'][name])})", *(_cell(e[name]) for e in found.values())] for name in names
        ]
        table = [["estimate", *found], ["---", *["---:"] * len(found)], *cells]
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in table))
    likelihood = solution.model.likelihood.name
    shape = tuple((solution.config or {}).get("event_shape", ()))
    parts.append(f"{solution.model.latent_dim} latent dimensions; examples of shape {shape}; likelihood: {likelihood}.")
    parts.append(
        "```python\nfrom lagvae.hub import Pretrained\n\n"
        'model = Pretrained.from_pretrained("OWNER/NAME").solution.model\nmodel.sample(64)\n```'
    )
    return "\n\n".join(parts) + "\n"


def _unit(estimate: Estimate) -> str:
    return "nats" if estimate.unit.startswith("nats") else estimate.unit


def _cell(estimate: Estimate) -> str:
    return f"{estimate.value:.4g} ± {estimate.standard_error:.2g}"
