"""Bad input is one line that says what was expected, found, and to try; exit status 2; nothing written or lost."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lagvae as lv
from lagvae.cli.main import main

from .conftest import EASY, TINY, Answer, Command, process

RUN = ["train", EASY, *TINY, "--out", "run"]


def replaced(flag: str, value: str) -> list[str]:
    """The tiny run's words with another value."""
    words = list(RUN)
    if flag in words:
        words[words.index(flag) + 1] = value
        return words
    return [*words, flag, value]


def problem(text: str) -> list[str]:
    return ["train", text, *RUN[2:]]


CASES: dict[str, tuple[list[str], str]] = {
    "unknown term": (problem("max mi s.t. neg_elb <= 86"), "neg_elb.*'?neg_elbo"),
    "unknown term's option": (problem("max mi s.t. neg_elbo <= 86, mmd(kernl=imq) <= 1"), "option of mmd, got 'kernl'"),
    "unknown kernel": (problem("max mi s.t. neg_elbo <= 86, mmd(kernel=img) <= 1"), "got 'img'; try 'imq'"),
    "nan bound": (problem("max mi s.t. neg_elbo <= nan"), "nan"),
    "infinite bound": (problem("max mi s.t. neg_elbo <= inf"), "inf"),
    "overflowing bound": (problem("max mi s.t. neg_elbo <= 1e999"), "finite|inf|1e999"),
    "contradictory bounds": (
        problem("min neg_elbo s.t. rate >= 30, rate <= 20"),
        "bounds that can hold together.*contradicting",
    ),
    "repeated bound": (problem("max mi s.t. neg_elbo <= 86, neg_elbo <= 87"), "expected one bound on each side"),
    "rewarded divergence": (problem("max mmd s.t. neg_elbo <= 86"), "rewards it"),
    "no sense": (problem("maximise everything"), "."),
    "empty problem": (problem(""), "expected a problem, got none; try lagvae train"),
    "unknown option": ([*RUN, "--epoch", "3"], "expected an option of lagvae train, got --epoch; try '--epochs'"),
    "unknown option with =": (
        [*RUN, "--latent_dims=3"],
        "expected an option of lagvae train, got --latent_dims; try '--latent-dim'",
    ),
    "unknown command": (["trian"], "expected a command, got 'trian'; try 'train'"),
    "too many words": (["train", EASY, "again", *RUN[2:]], "again"),
    "missing value": ([*RUN, "--epochs"], "--epochs.*try lagvae train --help"),
    "bad choice": (replaced("--activation", "gellu"), "'gellu'.*gelu"),
    "bad schedule": (replaced("--schedule", "linear"), r"'linear'(?=.*cosine)(?=.*constant)(?=.*trapezoidal)"),
    "bad precision": (replaced("--precision", "float16"), "'float16'.*float32"),
    "bad rule": (replaced("--dual", "forcast"), "expected a dual rule, got 'forcast'; try 'forecast'"),
    "bad optimiser": (replaced("--optimizer", "adm"), "expected an optimiser .* got 'adm'; try 'adam'"),
    "negative epochs": (replaced("--epochs", "-1"), "^lagvae: expected a whole number ≥ 1 as epochs, got -1"),
    "no epochs": (replaced("--epochs", "0"), "expected a whole number ≥ 1 as epochs, got 0"),
    "half an epoch": (replaced("--epochs", "0.5"), "--epochs.*0.5"),
    "no batch": (replaced("--batch-size", "0"), "expected a whole number ≥ 2 as batch_size, got 0"),
    "negative seed": (replaced("--seed", "-1"), "expected a whole number ≥ 0 as seed, got -1"),
    "nan rate": (replaced("--learning-rate", "nan"), "expected a positive number as learning_rate, got nan"),
    "words for numbers": (replaced("--learning-rate", "fast"), "--learning-rate.*fast"),
    "beta out of range": (replaced("--beta1", "1"), r"expected a number in \[0, 1\) as beta1"),
    "width of nothing": (replaced("--hidden", "0"), r"expected positive whole numbers as hidden, got \(0,\)"),
    "rule without a rate": (replaced("--dual-learning-rate", "0.1"), "expected no dual_learning_rate for forecast"),
    "unknown device": (replaced("--device", "cuda:99"), "expected a device of this machine, got 'cuda:99'"),
    "no device": (replaced("--device", "banana"), "expected a device of this machine, got 'banana'; try auto or cpu"),
    "unknown preset": ([*RUN, "--preset", "zhao"], "expected a preset, got 'zhao'; try 'zhao2018'"),
    "unknown data": (replaced("--data", "digit"), "'digits'"),
    "missing file": (replaced("--data", "absent.npy"), r"absent\.npy"),
    "no data": (["train", EASY, "--out", "run"], "expected data, got none; try --data mnist"),
    "resume of nothing": (["train", "--resume", "run"], r"expected a run at run, got no config\.yaml there"),
    "missing config": (
        ["train", "--config", "absent.yaml"],
        r"expected a YAML file at absent\.yaml, got .*No such file",
    ),
    "preset and config": (["train", "--config", "a.yaml", "--preset", "zhao2018"], "expected --preset or a file's"),
    "equal to best": (problem("max mi s.t. neg_elbo <= 86, rate == best"), "expected a bound above or below"),
    "best of nothing": (problem("max mi s.t. neg_elbo <= best + mi"), "a number as offset from best at column .*'mi'"),
    "no probe's epochs": (replaced("--probe-epochs", "0"), "expected a whole number ≥ 1 as probe_epochs, got 0"),
    "probe of nothing": (["probe"], "expected data, got none; try --data mnist"),
    "probe of what": (["probe", "--data", "digit"], "'digits'"),
    "probe with an unknown option": (
        ["probe", "--latent-dims", "3"],
        "expected an option of lagvae probe, got --latent-dims; try '--latent-dim'",
    ),
    "probe with a rule": (["probe", "--dual", "forecast"], "expected an option of lagvae probe, got --dual"),
    "probe without epochs": (["probe", "--data", "digits", "--epochs", "0"], "a whole number ≥ 1 as epochs, got 0"),
    "evaluate nothing": (["evaluate", "run"], r"expected a run at run, got no config\.yaml"),
    "sample nothing": (["sample", "run"], r"expected a run at run, got no config\.yaml"),
    "report nothing": (["report", "run"], r"expected a run at run, got no config\.yaml"),
    "evaluate what": (["evaluate"], "RUN|run|required"),
    "fetch what": (["data", "fetch", "mnst"], "expected the name of a data set, got 'mnst'; try 'mnist'"),
}


def check(lagvae: Command, words: list[str], message: str) -> None:
    answer = lagvae(*words)
    assert answer.status == 2, answer
    assert answer.out == ""
    assert len(answer.err.splitlines()) == 1, answer.err
    assert answer.err.startswith("lagvae: ")
    assert "__" not in answer.err
    assert re.search(message, answer.err.rstrip()), answer.err


def test_the_words_that_are_varied_are_a_run(lagvae: Command, tmp_path: Path) -> None:
    assert lagvae(*RUN).status == 0
    assert (tmp_path / "run" / "evaluation.json").exists()


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_nothing_written(lagvae: Command, tmp_path: Path, case: str) -> None:
    check(lagvae, *CASES[case])
    assert list(tmp_path.iterdir()) == []


IMAGES = np.random.default_rng(0).random((40, 1, 8, 8), dtype=np.float32)

ARRAYS: dict[str, tuple[np.ndarray, str]] = {
    "nan": (np.where(IMAGES > 0.9, np.nan, IMAGES), "expected finite values.* got nan at index"),
    "infinite": (np.where(IMAGES > 0.9, np.inf, IMAGES), "expected finite values.* got inf"),
    "above one": (IMAGES * 255, r"expected values in \[0, 1\].*try dividing the values by 255"),
    "one axis": (IMAGES[:, 0, 0, 0], r"expected an array \[N, \*event_shape\]"),
    "none": (IMAGES[:0], "expected at least one example"),
    "one": (IMAGES[:1], "expected two examples or more"),
    "words": (np.array([["a", "b"], ["c", "d"]]), "expected numbers"),
    "large integers": ((IMAGES * 1000).astype(np.int64), r"expected integers in 0\.\.255"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_cannot_be_scored(lagvae: Command, tmp_path: Path, name: str) -> None:
    array, message = ARRAYS[name]
    np.save(tmp_path / "x.npy", array)
    check(lagvae, replaced("--data", "x.npy"), message)
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


def test_a_likelihood_that_is_asked_for_and_cannot_score_the_data(lagvae: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", IMAGES - 0.5)
    words = replaced("--data", "x.npy")
    check(lagvae, [*words, "--likelihood", "bernoulli"], r"expected values in \[0, 1\].*got -0")
    check(lagvae, [*words, "--likelihood", "poisson"], r"expected counts 0, 1, 2, .*got")
    check(lagvae, [*words, "--likelihood", "categorical"], "expected bytes .*got floats")
    check(lagvae, [*words, "--likelihood", "gausian"], "gaussian")


def test_an_array_that_can(lagvae: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", IMAGES)
    assert lagvae(*replaced("--data", "x.npy")).status == 0
    assert lagvae("train", "--resume", "run", "--quiet").status == 0
    np.save(tmp_path / "x.npy", 1 - IMAGES)
    check(lagvae, ["train", "--resume", "run"], "own data_fingerprint")


def test_files_that_are_no_arrays(lagvae: Command, tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(b"not an array")
    check(lagvae, replaced("--data", "x.npy"), r"x\.npy")
    (tmp_path / "x.txt").write_text("0 1")
    check(lagvae, replaced("--data", "x.txt"), r"expected a \.npy, .* or a folder of images, got .*x\.txt")
    (tmp_path / "pictures").mkdir()
    check(lagvae, replaced("--data", "pictures"), "pictures")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("epoch: 3", "expected a setting, got 'epoch'; try 'epochs'"),
        ("primal: {epoch: 3}", "expected a setting, got 'epoch'; try 'epochs'"),
        ("primal: 3", "expected a setting, got 'primal'"),
        ("network: {1: 2}", "expected a setting, got '1'"),
        ("epochs: many", "expected a whole number ≥ 1 as epochs, got 'many'"),
        ("activation: [gelu]", "expected a known activation"),
        ("preset: zhao", "expected a preset, got 'zhao'; try 'zhao2018'"),
        ("preset: [zhao2018]", "expected a preset"),
        ("epochs: [1", "expected a YAML file at a.yaml, got"),
        ("- epochs", "expected names and values in a.yaml"),
        ("custom: [model]", "expected a run of named parts only, got its own model"),
    ],
)
def test_yaml(lagvae: Command, tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.yaml").write_text(f"problem: {EASY}\ndata: digits\n" if content[0] not in "-" else "")
    with (tmp_path / "a.yaml").open("a") as file:
        file.write(content + "\n")
    check(lagvae, ["train", "--config", "a.yaml", "--out", "run"], message)
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"problem: {EASY}", "expected data, got none"),
        ("data: digits", "expected a problem, got none"),
        ("problem: 5\ndata: digits", "expected a Problem or its text, got 5"),
        (f"problem: {EASY}\ndata: 5", "expected the name of a data set"),
    ],
)
def test_yaml_that_says_too_little(lagvae: Command, tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.yaml").write_text(content)
    check(lagvae, ["train", "--config", "a.yaml", "--out", "run"], message)
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"]


def test_a_finished_run_is_neither_lost_nor_continued_as_another(lagvae: Command, tmp_path: Path) -> None:
    assert lagvae(*RUN).status == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    check(lagvae, RUN, "expected no run at run, got one; try --resume to go on, --overwrite, or another --out")
    resume = ["train", "--resume", "run"]
    check(lagvae, ["train", "min rate s.t. neg_elbo <= 400", *resume[1:]], "the run's own problem")
    check(lagvae, [*resume, "--hidden", "9"], r"own hidden \(\(8,\)\), got \(9,\)")
    check(lagvae, [*resume, "--seed", "1"], r"own seed \(0\), got 1")
    check(lagvae, [*resume, "--epochs", "9"], r"own epochs \(1\), got 9")
    np.save(tmp_path / "x.npy", IMAGES)
    check(lagvae, [*resume, "--data", "x.npy"], r"own data \(digits\), got .*x\.npy")
    (tmp_path / "x.npy").unlink()
    check(lagvae, [*resume, "--out", "other"], "expected --resume or --out, got both; try --resume alone")
    check(lagvae, [*resume, "--preset", "zhao2018"], "expected --preset or a file's settings, got both")
    check(lagvae, [*resume, "--config", "absent.yaml"], "expected --resume or --config, got both")
    check(lagvae, [*resume, "--overwrite"], "expected --resume or --overwrite, got both")
    check(lagvae, ["sample", "run", "--data", "digits"], "expected no data for samples, .* try --kind reconstructions")
    check(lagvae, ["sample", "run", "--n", "0"], "expected at least one sample or row, got 0")
    check(lagvae, ["sample", "run", "--out", "x.what"], r"expected to write x\.what")
    check(lagvae, ["sample", "run", "--out", "absent/x.png"], r"expected to write absent/x\.png")
    check(lagvae, ["report", "run", "--out", "x.what"], r"expected a \.png, \.pdf or \.svg file, got x\.what")
    check(lagvae, ["report", "run", "--out", "absent/x.png"], r"expected to write absent/x\.png")
    check(lagvae, ["evaluate", "run", "--data", "digit"], "'digits'")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert lagvae(*resume, "--out", "run", "--seed", "0", "--log-every", "7", "--quiet").status == 0


def test_other_files_are_not_lost(lagvae: Command, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years")
    for words in (RUN, [*RUN, "--overwrite"]):
        check(lagvae, words, "expected an empty folder or a run at run, got other files; try another --out")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.tex"]


def test_debug_shows_the_exception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(lv.SettingError, match="got 'zhao'; try 'zhao2018'"):
        main([*RUN, "--preset", "zhao", "--debug"])
    assert main([*RUN, "--preset", "zhao"]) == 2


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_message_does_not_hang_on_the_terminals_letters(finished: tuple[Path, Answer], encoding: str) -> None:
    """The parser frames its complaints in other characters where a terminal has no lines to draw with."""
    folder = finished[0].parent
    environment = {"PYTHONIOENCODING": encoding}
    answer = process(*RUN, "--epochs", "-1", cwd=folder, **environment)
    assert answer.status == 2
    assert re.fullmatch("lagvae: expected a whole number .+ 1 as epochs, got -1; try a whole number .+ 1\n", answer.err)
    assert process("train", EASY, "--epoch", "3", cwd=folder, **environment).err.endswith("; try '--epochs'\n")
    table = process("evaluate", "run", cwd=folder, **environment)
    assert (table.status, "neg_elbo" in table.out) == (0, True)


def test_version_and_help(lagvae: Command) -> None:
    assert lagvae("--version").out == f"lagvae {lv.__version__}\n"
    for words in (["--help"], [], ["-h"]):
        answer = lagvae(*words)
        assert (answer.status, answer.err) == (0, "")
        for command in ("train", "probe", "evaluate", "sample", "report", "data"):
            assert command in answer.out
    options = lagvae("train", "--help")
    assert options.status == 0
    from lagvae.settings import setting_names

    assert not [name for name in setting_names() if f"--{name.replace('_', '-')}" not in options.out]


def test_help_imports_nothing_heavy() -> None:
    """In a process of its own: which modules are there after help, and after a run's first import."""
    script = (
        "import sys\n"
        "from lagvae.cli.main import main\n"
        "try: main(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = ('torch', 'numpy', 'matplotlib', 'sklearn', 'yaml', 'rich')\n"
        "print([name for name in heavy if name in sys.modules])\n"
        "import lagvae.training.fit\n"
        "print('torch' in sys.modules)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-2:] == ["[]", "True"]
