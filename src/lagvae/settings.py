"""Every setting of a run, declared once.

The same declarations are the command line's flags, the sections of ``config.yaml`` and the
keywords of ``fit``. This module imports nothing heavy, so that ``lagvae --help`` answers at once.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal, get_args, get_origin, get_type_hints

from lagvae.errors import SettingError, expected, nearest

Activation = Literal["softplus", "gelu", "relu", "silu"]
Network = Literal["mlp", "residual", "convolutional"]
LikelihoodName = Literal[
    "auto",
    "bernoulli",
    "continuous_bernoulli",
    "gaussian",
    "optimal_gaussian",
    "fixed_gaussian",
    "categorical",
    "discretised_logistic",
    "poisson",
    "negative_binomial",
]
PriorName = Literal["standard_normal", "flow"]
Schedule = Literal["cosine", "constant", "trapezoidal"]
Precision = Literal["auto", "float32", "bfloat16"]
TrackerName = Literal["mlflow", "wandb"]

PROBE_EPOCHS = 5
"""Epochs of a bare ``lagvae probe``: enough to see the ranges, too few to reach their ends."""


@dataclass(frozen=True)
class NetworkSettings:
    """The networks; ignored where a model is given."""

    latent_dim: int = 64
    """Dimensions of z."""
    network: Network = "mlp"
    """Perceptrons as in the original, residual ones, or convolutional networks for images."""
    hidden: tuple[int, ...] = (1024, 1024)
    """Widths of the encoder's hidden layers; the decoder mirrors them."""
    channels: tuple[int, ...] = (32, 64, 128)
    """Channels of the levels of a convolutional network, each half as high and wide as the last."""
    activation: Activation = "gelu"
    """Nonlinearity between layers."""
    likelihood: LikelihoodName = "auto"
    """p(x|z); auto picks one by the data's type and range, and says so."""
    noise_std: float = 1.0
    """Standard deviation of fixed_gaussian, in standard deviations of the data."""
    prior: PriorName = "standard_normal"
    """p(z): N(0, I), or a normalising flow that is learned with the networks."""


RUN_RECIPE: dict[str, Any] = {"optimizer": "adam", "beta2": 0.999, "schedule": "cosine"}
"""How the weights of a run descend where nothing else is asked for."""
FRONT_RECIPE: dict[str, Any] = {
    "optimizer": "adamw",
    "beta2": 0.98,
    "weight_decay": 0.1,
    "schedule": "trapezoidal",
}
"""The same of an amortised front: small steps while it is decided which dimensions of z stay open, a decay apart from
the gradients, and a rate that falls late.

Source: AdamW [Loshchilov2019]; the trapezoid, as in [Haegele2024]."""


def front_recipe(divergence: str) -> dict[str, Any]:
    """Returns how the weights of a front over a divergence descend, or of one over none (``none``).

    A divergence among few codes is mostly noise, which only a small learning rate averages: that needs a cosine's end.
    """
    return FRONT_RECIPE if divergence == "none" else {**FRONT_RECIPE, "schedule": "cosine"}


@dataclass(frozen=True)
class PrimalSettings:
    """How the weights descend."""

    epochs: int = 30
    """Passes over the training data."""
    batch_size: int = 250
    """Examples per step."""
    optimizer: str | None = None
    """Any optimiser of torch.optim, by its name in lower case; where none is given adam, and adamw of a front."""
    learning_rate: float = 2e-3
    """Highest learning rate."""
    beta1: float = 0.9
    """Adam's decay of the first moment."""
    beta2: float | None = None
    """Adam's decay of the second moment; where none is given 0.999, and 0.98 of a front."""
    weight_decay: float | None = None
    """How the optimiser decays weights; where none is given as it does (adamw 0.01), and 0.1 of a front's adamw."""
    schedule: Schedule | None = None
    """Learning rate after its warm-up: cosine decay to 0, constant until half and then linear to 0 (trapezoidal), or
    constant; where none is given cosine, and trapezoidal of a front (an amortised one, as above) without divergence."""
    warmup_steps: int = 500
    """Steps of linear warm-up, at most a tenth of the run."""
    shuffle: bool = True
    """Whether each epoch visits the examples in an order of its own."""
    balance: bool = True
    """Whether the loss is divided by the sum of its weights, so that multipliers do not act as learning rates."""

    def settled(self, recipe: Mapping[str, Any] = RUN_RECIPE) -> PrimalSettings:
        """Returns these settings with a recipe's where they have none."""
        missing = {name: value for name, value in recipe.items() if getattr(self, name) is None}
        if "optimizer" not in missing and self.optimizer != recipe["optimizer"]:
            missing.pop("weight_decay", None)  # what decays adamw's weights is a penalty of adam's loss
        return dataclasses.replace(self, **missing)


@dataclass(frozen=True)
class DualSettings:
    """How the multipliers ascend."""

    dual: str = "forecast"
    """Dual rule: forecast, gradient, geco, nupi, augmented_lagrangian, zhao2018, or an optimiser of torch.optim."""
    dual_learning_rate: float | None = None
    """The rule's own step size, where one is given."""
    probe_epochs: int | None = None
    """Epochs of the probe that best in a bound refers to; the run's own if none are given."""
    held_out: float = 0.0
    """Share of the training data on which the bounds are measured instead; the weights never see it."""


@dataclass(frozen=True)
class ExecutionSettings:
    """Where and how it is computed."""

    seed: int = 0
    """All randomness of the run follows from it."""
    device: str = "auto"
    """auto (the freest graphics processor, else the processor), cpu, cuda, cuda:1, ..."""
    devices: int = 1
    """How many devices share each batch: graphics processors, or processes on the processor."""
    precision: Precision = "auto"
    """bfloat16 networks where the hardware does them well (auto), or always, or never."""
    capture: bool = True
    """On a graphics processor: record a step once and replay it, with no Python in between."""


@dataclass(frozen=True)
class OutputSettings:
    """What is written while it runs."""

    log_every: int = 50
    """Steps between two lines of metrics.jsonl."""
    checkpoint_seconds: float = 30.0
    """Seconds between two checkpoints, which are written with a line of the log; one is always written at the end."""
    track: tuple[TrackerName, ...] = ()
    """Trackers that get the log, the settings and the results beside TensorBoard: mlflow, wandb, or both."""


@dataclass(frozen=True)
class FrontSettings:
    """What one modulated network covers."""

    beta_low: float = 0.1
    """Lowest weight of rate, with distortion's as 1."""
    beta_high: float = 10.0
    """Highest weight of rate."""
    gamma_high: float = 1e4
    """Highest weight of the divergence; the lowest is as good as none."""
    divergence: str = "mmd"
    """The divergence of q(z) from p(z) that is weighted beside the rate, in a problem's words; none for none."""
    group_size: int = 10
    """Examples of a batch that share their weights; the divergence is measured among five groups with like weights."""
    gain: float = 15.0
    """How fast the modulation learns beside the weights: more is better for high weights of rate, less for low ones."""

    def __post_init__(self) -> None:
        for name, value in _checked_fields(dataclasses.asdict(self)).items():
            object.__setattr__(self, name, value)
        if not 0 < self.beta_low < self.beta_high < math.inf:
            got = f"{self.beta_low:g} and {self.beta_high:g}"
            raise SettingError(expected("0 < beta_low < beta_high", got=got, fix="0.1 and 10"))
        if not GAMMA_LOW < self.gamma_high < math.inf:
            raise SettingError(expected(f"gamma_high > {GAMMA_LOW:g}", got=f"{self.gamma_high:g}", fix="1e4"))
        if self.group_size < 2:
            raise SettingError(expected("group_size ≥ 2", got=self.group_size, fix="10"))
        if not 0 < self.gain < math.inf:
            raise SettingError(expected("gain > 0", got=f"{self.gain:g}", fix="15"))

    @staticmethod
    def of(fields: Mapping[str, Any]) -> FrontSettings:
        """Reads the ``front`` of a ``config.yaml``.

        Raises:
            SettingError: A name is unknown or a value of another type or out of range.
        """
        return FrontSettings(**_checked_fields(fields))


def _checked_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings of a front in plain numbers and words."""
    kinds = get_type_hints(FrontSettings)
    found: dict[str, Any] = {}
    for name, value in fields.items():
        if name not in kinds:
            raise SettingError(expected("a setting of a front", got=f"'{name}'", fix=nearest(str(name), kinds)))
        kind = kinds[name]
        wanted = {float: Real, int: Integral, str: str}[kind]
        if not isinstance(value, wanted) or isinstance(value, bool):
            fix = f"a value such as {FrontSettings.__dataclass_fields__[name].default!r}"
            raise SettingError(expected(f"{kind.__name__} as {name}", got=repr(value), fix=fix))
        found[name] = kind(value)
    return found


GAMMA_LOW = 10.0
"""The lowest weight of a divergence: 0.01 nat of an MMD² of 1e-3."""


@dataclass(frozen=True)
class Settings:
    """Every setting of a run, by section."""

    network: NetworkSettings = field(default_factory=NetworkSettings)
    primal: PrimalSettings = field(default_factory=PrimalSettings)
    dual: DualSettings = field(default_factory=DualSettings)
    execution: ExecutionSettings = field(default_factory=ExecutionSettings)
    output: OutputSettings = field(default_factory=OutputSettings)

    def __post_init__(self) -> None:
        for section in dataclasses.fields(self):
            part = getattr(self, section.name)
            checked = {name: check_setting(name, value) for name, value in dataclasses.asdict(part).items()}
            object.__setattr__(self, section.name, type(part)(**checked))

    def replace(self, **changes: Any) -> Settings:
        """Returns these settings with some changed, whichever section they stand in.

        Raises:
            SettingError: A name is unknown (the nearest is named) or a value is out of range.
        """
        known = setting_names()
        for name in changes:
            if name not in known:
                raise SettingError(expected("a setting", got=f"'{name}'", fix=nearest(name, known)))
        sections = {}
        for section in dataclasses.fields(self):
            part = getattr(self, section.name)
            mine = {k: check_setting(k, v) for k, v in changes.items() if known[k] == section.name}
            sections[section.name] = dataclasses.replace(part, **mine)
        return Settings(**sections)

    def settled(self, recipe: Mapping[str, Any] = RUN_RECIPE) -> Settings:
        """Returns these settings with a recipe's where it is not said how the weights descend."""
        return dataclasses.replace(self, primal=self.primal.settled(recipe))

    def flat(self) -> dict[str, Any]:
        """Returns name → value over all sections."""
        return {
            name: value
            for section in dataclasses.fields(self)
            for name, value in dataclasses.asdict(getattr(self, section.name)).items()
        }

    def as_sections(self) -> dict[str, dict[str, Any]]:
        """Returns section → name → value in plain types, as ``config.yaml`` holds them."""
        sections = dataclasses.asdict(self)
        return {
            section: {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}
            for section, settings in sections.items()
        }

    @staticmethod
    def from_sections(sections: Mapping[str, Any], *, base: Settings | None = None) -> Settings:
        """Reads what ``as_sections`` returns; settings may also stand without their section.

        Args:
            sections: Section → name → value, or name → value.
            base: What is not named stays as it is there; the defaults if None.

        Raises:
            SettingError: A name is unknown or a value is out of range.
        """
        known = {section.name for section in dataclasses.fields(Settings)}
        flat: dict[str, Any] = {}
        for name, value in sections.items():
            if name in known and isinstance(value, Mapping):
                flat.update({str(inner): setting for inner, setting in value.items()})
            else:
                flat[str(name)] = value
        return (base or Settings()).replace(**flat)


PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    # [LagVAE] and the authors' code, kept exactly.
    "zhao2018": {
        "latent_dim": 64,
        "network": "mlp",
        "hidden": (1024, 1024),
        "activation": "softplus",
        "likelihood": "bernoulli",
        "prior": "standard_normal",
        "epochs": 5000,
        "batch_size": 250,
        "optimizer": "adam",
        "learning_rate": 1e-4,
        "beta1": 0.5,
        "beta2": 0.999,
        "schedule": "constant",
        "warmup_steps": 0,
        "shuffle": False,
        "balance": False,
        "dual": "zhao2018",
        "dual_learning_rate": 1e-4,
    },
}


def preset(name: str) -> Settings:
    """Returns the settings of a preset: ``default`` or ``zhao2018``.

    Raises:
        SettingError: There is no such preset.
    """
    if str(name) not in PRESETS:
        raise SettingError(expected("a preset", got=f"'{name}'", fix=nearest(str(name), PRESETS)))
    return Settings().replace(**PRESETS[name])


def settings_or_preset(settings: Settings | None, name: str) -> Settings:
    """Returns the settings that are given, or a preset's.

    Raises:
        SettingError: Both are given, or there is no such preset.
    """
    if settings is None:
        return preset(name)
    if name != "default":
        raise SettingError(expected("settings or a preset", got="both", fix=f"settings=lv.settings.preset('{name}')"))
    return settings


def setting_names() -> dict[str, str]:
    """Returns name → section of every setting."""
    return {name: section for name, (section, _) in _declared().items()}


@functools.cache
def _declared() -> dict[str, tuple[str, Any]]:
    """Returns name → (section, type) of every setting."""
    return {
        name: (section, kind)
        for section, settings in get_type_hints(Settings).items()
        for name, kind in get_type_hints(settings).items()
    }


def check_setting(name: str, value: Any) -> Any:
    """Returns ``value`` in the setting's type.

    Raises:
        SettingError: It has another type or is out of range.
    """
    kind = _declared()[name][1]
    if type(None) in get_args(kind):
        if value is None:
            return None
        kind = next(one for one in get_args(kind) if one is not type(None))
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            fix = nearest(str(value), get_args(kind))
            raise SettingError(expected(f"a known {name}", got=repr(value), fix=fix))
        return value
    if kind is bool or kind is str:
        if not isinstance(value, kind):
            raise SettingError(expected(f"{kind.__name__} as {name}", got=repr(value), fix=f"a {kind.__name__}"))
        return value
    if get_origin(kind) is tuple and get_origin(get_args(kind)[0]) is Literal:
        values, known = [value] if isinstance(value, str) else value, get_args(get_args(kind)[0])
        for item in values if isinstance(values, list | tuple) else [values]:
            if item not in known:
                raise SettingError(expected(f"names to {name}", got=repr(item), fix=nearest(str(item), known)))
        return tuple(dict.fromkeys(values))
    if get_origin(kind) is tuple:
        counts = value if isinstance(value, list | tuple) else (value,)
        if not all(_is_count(item, 1) for item in counts):
            raise SettingError(expected(f"positive whole numbers as {name}", got=repr(value), fix="1024 1024"))
        return tuple(map(int, counts))
    if kind is int:
        least = _LEAST.get(name, 1)
        if not _is_count(value, least):
            fix = f"a whole number ≥ {least}"
            raise SettingError(expected(f"a whole number ≥ {least} as {name}", got=repr(value), fix=fix))
        return int(value)
    most = _BELOW.get(name, float("inf"))
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not (0 <= value < most) or (value == 0 and name not in _MAY_BE_ZERO):
        wanted = "a positive number" if most == float("inf") else f"a number in [0, {most:g})"
        raise SettingError(expected(f"{wanted} as {name}", got=repr(value), fix="its default"))
    return float(value)


_LEAST = {"seed": 0, "warmup_steps": 0, "batch_size": 2}
_BELOW = {"beta1": 1.0, "beta2": 1.0, "held_out": 1.0}
_MAY_BE_ZERO = {"beta1", "beta2", "checkpoint_seconds", "held_out", "weight_decay"}


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least
