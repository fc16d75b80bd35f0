r"""The text form of a problem, one grammar for command line, configuration and code.

    problem     = direction sum [ "s.t." constraint { "," constraint } ]
    direction   = "max" | "min"                       (or maximize, minimise, ...)
    constraint  = sum ("<=" | ">=" | "==") bound      (or ≤, ≥, =)
    bound       = [ "-" ] number  |  "best" [ ("+" | "-") number ]
    sum         = [ "-" ] product { ("+" | "-") product }  |  "0"
    product     = [ number "*" ] term  |  term "*" number
    term        = name [ "(" option "=" value { "," option "=" value } ")" ]

``mi`` is short for ``mutual_information``; ``best`` is the best value that a probe reaches.
``str`` of a problem is read back to an equal problem.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from lagvae.errors import ProblemError, expected, nearest
from lagvae.problem.problem import Objective, Problem
from lagvae.terms import importance, information, mmd  # noqa: F401 (registers the built-in terms)
from lagvae.terms.algebra import Constraint, Sense, WeightedSum, finite, format_number
from lagvae.terms.term import Term, registered_terms

ABBREVIATIONS = {"mi": "mutual_information"}
_DIRECTIONS: dict[str, Literal["max", "min"]] = {
    **dict.fromkeys(("max", "maximize", "maximise"), "max"),
    **dict.fromkeys(("min", "minimize", "minimise"), "min"),
}
_SENSES: dict[str, Sense] = {"<=": "<=", "≤": "<=", ">=": ">=", "≥": ">=", "==": "==", "=": "=="}
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<such_that>s\.t\.|subject\s+to\b|st\b)"
    r"|(?P<name>[^\W\d]\w*)"
    r"|(?P<symbol><=|>=|==|[≤≥=<>+\-*(),]))"
)


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    column: int


def parse_problem(text: str) -> Problem:
    """Reads a problem; see the module's grammar.

    Raises:
        ProblemError: What was expected, what stands there, at which column.
    """
    if not isinstance(text, str):
        raise ProblemError(expected("a problem's text", got=repr(text), fix="'max mi s.t. neg_elbo <= 86'"))
    return _Parser(text).problem()


class _Parser:
    """Recursive descent: one method per line of the grammar."""

    def __init__(self, text: str) -> None:
        self.text = re.sub(r"\s", " ", text)  # messages quote it, and are one line
        self.tokens = _tokenise(self.text)
        self.position = 0

    @property
    def here(self) -> _Token:
        return self.tokens[self.position]

    def problem(self) -> Problem:
        objective = Objective(self.direction(), self.sum())
        constraints = []
        if self.accept("such_that"):
            constraints.append(self.constraint())
            while self.accept("symbol", ","):
                constraints.append(self.constraint())
        if self.here.kind != "end":
            if constraints:
                raise self.error("',' or the end", "',' between constraints, or for '<= 1,000' the bound as 1000")
            raise self.error("'s.t.' or the end", "'s.t.' before the constraints")
        return Problem(objective, constraints)

    def direction(self) -> Literal["max", "min"]:
        word = self.here.text
        if word not in _DIRECTIONS:
            raise self.error("'max' or 'min'", "'max mi s.t. neg_elbo <= 86'")
        self.position += 1
        return _DIRECTIONS[word]

    def constraint(self) -> Constraint:
        quantity = self.sum()
        sense = _SENSES.get(self.here.text)
        if sense is None:
            raise self.error("'<=', '>=' or '=='", f"'{quantity} <= 86'")
        self.position += 1
        if self.accept("name", "best"):
            return Constraint(quantity, sense, self.offset(), is_relative=True)
        sign = -1.0 if self.accept("symbol", "-") else 1.0
        return Constraint(quantity, sense, sign * self.number("bound"))

    def offset(self) -> float:
        """Returns what is added to best; 0 where nothing is."""
        if self.accept("symbol", "+"):
            return self.number("offset from best")
        return -self.number("offset from best") if self.accept("symbol", "-") else 0.0

    def sum(self) -> WeightedSum:
        if self.here.kind == "number" and finite(float(self.here.text), "number") == 0 and not self.is_factor():
            self.position += 1
            return WeightedSum({})
        items = [self.product(-1.0 if self.accept("symbol", "-") else 1.0)]
        while self.here.text in ("+", "-"):
            sign = -1.0 if self.here.text == "-" else 1.0
            self.position += 1
            items.append(self.product(sign))
        return WeightedSum.of(items)

    def is_factor(self) -> bool:
        """Whether the number here multiplies something."""
        return self.tokens[self.position + 1].text == "*"

    def product(self, sign: float) -> tuple[Term, float]:
        if self.here.kind == "number":
            weight = self.number("weight")
            if self.here.text in _SENSES:
                fix = "the term on the left, 'neg_elbo <= 100', and for a range two constraints"
                raise self.error("a term before its bound", fix)
            if not self.accept("symbol", "*"):
                raise self.error("'*' after a weight", f"'{format_number(weight)}*rate'")
            return self.term(), sign * weight
        term = self.term()
        if self.accept("symbol", "*"):
            sign *= self.number("weight")
        return term, sign

    def term(self) -> Term:
        known = registered_terms()
        if self.here.kind != "name":
            raise self.error("a term", "one of " + ", ".join(sorted(known)))
        name = ABBREVIATIONS.get(self.here.text, self.here.text)
        if name not in known:
            raise self.error("a term", nearest(name, [*known, *ABBREVIATIONS]))
        self.position += 1
        if not self.accept("symbol", "("):
            return known[name]
        options: dict[str, str | float] = {}
        while not self.accept("symbol", ")"):
            if options and not self.accept("symbol", ","):
                raise self.error("',' or ')'", f"'{name}(option=value)'")
            if self.here.kind != "name":
                raise self.error(f"an option of {name}", f"'{name}(option=value)'")
            option = self.here.text
            self.position += 1
            if not self.accept("symbol", "="):
                raise self.error(f"'=' after {option}", f"'{name}({option}=value)'")
            if option in options:
                raise self.error(f"{option} once", "one value")
            options[option] = self.option_value()
        return known[name](**options)

    def option_value(self) -> str | float:
        if self.here.kind == "name":
            self.position += 1
            return self.tokens[self.position - 1].text
        return self.number("option")

    def number(self, what: str) -> float:
        if self.here.kind != "number":
            raise self.error(f"a number as {what}", "a number such as 86 or 5e-4")
        value = finite(float(self.here.text), what)
        self.position += 1
        return value

    def accept(self, kind: str, text: str | None = None) -> bool:
        """Steps over the token here if it is the one asked for."""
        if self.here.kind != kind or (text is not None and self.here.text != text):
            return False
        self.position += 1
        return True

    def error(self, what: str, fix: str) -> ProblemError:
        found = f"'{self.here.text}'" if self.here.text else "the end"
        return ProblemError(expected(f"{what} at column {self.here.column + 1} of '{self.text}'", got=found, fix=fix))


def _tokenise(text: str) -> list[_Token]:
    tokens, column = [], 0
    end = len(text.rstrip())
    while column < end:
        match = _TOKEN.match(text, column)
        if match is None:
            while text[column].isspace():
                column += 1
            raise ProblemError(
                expected(
                    f"a term, a number or a sign at column {column + 1} of '{text}'",
                    got=repr(text[column]),
                    fix="'max mi s.t. neg_elbo <= 86, mmd <= 5e-4'",
                )
            )
        kind = str(match.lastgroup)
        tokens.append(_Token(kind, match[kind], match.start(kind)))
        column = match.end()
    return [*tokens, _Token("end", "", end)]
