"""What requests look like, and how their bytes become them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from api.errors import ServiceError, from_validation, invalid
from api.settings import Settings

# Strict: no text or booleans for numbers. Fail fast: one wrong cell of many is enough to tell.
Cell = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Row = Annotated[list[Cell | None], Field(fail_fast=True)]
Name = Annotated[str, Field(strict=True, min_length=1, max_length=256)]
Label = Annotated[str, Field(strict=True, max_length=256)] | Annotated[int, Field(strict=True)]
Stamp = Annotated[str, Field(strict=True, max_length=64)] | Cell
Level = Annotated[float, Field(strict=True, gt=0, lt=1)]
Parsed = TypeVar("Parsed", bound=BaseModel)
MAX_SEED = 2**32 - 1
_MOST_COMMAS_A_CELL = 4  # a record of the long form has three of its own and one after it


class Options(BaseModel):
    """How to impute; what is absent is the service's default."""

    model_config = ConfigDict(extra="forbid")

    model: Name | None = None
    version: Name | None = None
    n_samples: Annotated[int, Field(strict=True, ge=1)] | None = None
    quantiles: Annotated[list[Level], Field(min_length=1, fail_fast=True)] | None = None
    seed: Annotated[int, Field(strict=True, ge=0, le=MAX_SEED)] = 0
    method: Literal["samples", "head"] = "samples"
    deadline_s: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None = None
    time_zone: Name | None = None


class Record(BaseModel):
    """One cell of the long form."""

    model_config = ConfigDict(extra="forbid")

    timestamp: Stamp
    feature: Name
    value: Cell | None = None
    series: Label | None = None


class ImputeRequest(Options):
    """Series with holes: `columns` and `rows`, or `records`."""

    columns: Annotated[list[Name], Field(min_length=1, fail_fast=True)] | None = None
    rows: Annotated[list[Row], Field(min_length=1, fail_fast=True)] | None = None
    timestamps: Annotated[list[Stamp], Field(fail_fast=True)] | None = None
    series: Annotated[list[Label], Field(fail_fast=True)] | None = None
    records: Annotated[list[Record], Field(min_length=1, fail_fast=True)] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> ImputeRequest:
        wide = (self.columns, self.rows)
        if self.records is None and None in wide:
            raise ValueError("expected columns and rows, or records")
        others = (*wide, self.timestamps, self.series)
        if self.records is not None and any(part is not None for part in others):
            raise ValueError("expected either columns and rows, or records, not both")
        return self


def parse_json(kind: type[Parsed], body: bytes, settings: Settings) -> Parsed:
    """Read a JSON body.

    Raises
    ------
    ServiceError
        415 if it is not JSON, 422 if it is something else than expected.
    """
    if body.count(b",") > _MOST_COMMAS_A_CELL * settings.max_cells + 10_000:
        raise too_many_cells(settings)  # before anything large is made of it
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        if error.errors(include_input=False)[0]["type"] == "json_invalid":
            raise ServiceError(
                "unsupported_media_type", "the body is not valid JSON", 415
            ) from None
        raise from_validation(error, ("body",)) from None


def too_many_cells(settings: Settings) -> ServiceError:
    """A 422."""
    message = f"expected at most {settings.max_cells} cells"
    return invalid(("body", "rows"), "too_many_cells", message)


def check_options(options: Options, settings: Settings) -> None:
    """Limits that are settings.

    Raises
    ------
    ServiceError
        422.
    """
    if options.n_samples is not None and options.n_samples > settings.max_samples:
        raise invalid(
            ("body", "n_samples"), "too_large", f"expected 1 to {settings.max_samples} samples"
        )
    levels = options.quantiles
    if levels is not None and (
        len(levels) > settings.max_quantiles or sorted(set(levels)) != levels
    ):
        raise invalid(
            ("body", "quantiles"),
            "quantiles",
            f"expected at most {settings.max_quantiles} levels, sorted and unique, in (0, 1)",
        )
    if options.deadline_s is not None and options.deadline_s > settings.max_deadline_s:
        raise invalid(
            ("body", "deadline_s"), "too_large", f"expected at most {settings.max_deadline_s:g} s"
        )


def form_options(fields: dict[str, str]) -> Options:
    """Options from the fields of a form, all of them text.

    Raises
    ------
    ServiceError
        422 for an unknown field or a value that cannot be used.
    """
    numbers: dict[str, Any] = {}
    for name, text in fields.items():
        try:
            numbers[name] = _FROM_TEXT.get(name, str)(text)
        except ValueError:
            raise invalid(("body", name), "number_parsing", "expected numbers") from None
    try:
        return Options.model_validate(numbers)
    except ValidationError as error:
        raise from_validation(error, ("body",)) from None


def _levels(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


_FROM_TEXT: dict[str, Any] = {
    "n_samples": int,
    "seed": int,
    "quantiles": _levels,
    "deadline_s": float,
}
