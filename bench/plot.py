"""Two drawings as plain SVG, for the documentation: points of a curve, and bars along a time axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 640, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 30, 20, 46
_STYLE = "text{font:12px sans-serif;fill:#444}.axis{stroke:#888}.curve{fill:none;stroke:#2a6fb0;stroke-width:2}"


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float
    label: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    label: str
    start: float
    end: float


def _step(span: float) -> float:
    """A round distance for about six lines."""
    return next((step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500) if span / step <= 7), 1000)


def _document(height: int, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}">'
    background = f'<style>{_STYLE}</style><rect width="{_WIDTH}" height="{height}" fill="#fff"/>'
    return "\n".join([head, background, *parts, "</svg>"]) + "\n"


def curve(points: Sequence[Point], x_label: str, y_label: str) -> str:
    """Points joined by a line in the order of their x; those with a label carry it."""
    ordered = sorted(points, key=lambda point: point.x)
    x_step, y_step = _step(ordered[-1].x - ordered[0].x or 1), _step(max(point.y for point in ordered) or 1)
    low, high = ordered[0].x // x_step * x_step, (ordered[-1].x // x_step + 1) * x_step
    top = (max(point.y for point in ordered) // y_step + 1) * y_step

    def at(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)
        return across, _HEIGHT - _BOTTOM - y / top * (_HEIGHT - _BOTTOM - _TOP)

    parts = []
    for number in range(round((high - low) / x_step) + 1):
        x, y = at(low + number * x_step, 0)
        parts.append(f'<line class="axis" x1="{x:.0f}" y1="{y:.0f}" x2="{x:.0f}" y2="{y + 5:.0f}"/>')
        parts.append(f'<text x="{x:.0f}" y="{y + 18:.0f}" text-anchor="middle">{low + number * x_step:g}</text>')
    for number in range(round(top / y_step) + 1):
        x, y = at(low, number * y_step)
        parts.append(f'<line class="axis" x1="{x:.0f}" y1="{y:.0f}" x2="{_WIDTH - _RIGHT}" y2="{y:.0f}" opacity=".3"/>')
        parts.append(f'<text x="{x - 8:.0f}" y="{y + 4:.0f}" text-anchor="end">{number * y_step:g}</text>')
    places = [at(point.x, point.y) for point in ordered]
    parts.append(f'<polyline class="curve" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>')
    for point, (x, y) in zip(ordered, places, strict=True):
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#2a6fb0"/>')
        parts.append(f'<text x="{x + 7:.1f}" y="{y - 7:.1f}">{escape(point.label)}</text>')
    parts.append(f'<text x="{_WIDTH / 2:.0f}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(x_label)}</text>')
    middle = _HEIGHT / 2
    turned = f'x="14" y="{middle:.0f}" transform="rotate(-90 14 {middle:.0f})" text-anchor="middle"'
    parts.append(f"<text {turned}>{escape(y_label)}</text>")
    return _document(_HEIGHT, parts)


def waterfall(bars: Sequence[Bar], x_label: str) -> str:
    """One bar below the other, each from its start to its end."""
    span = max(bar.end for bar in bars)
    step = _step(span)
    left, line = 200, 26
    height = _TOP + line * len(bars) + _BOTTOM

    def across(x: float) -> float:
        return left + x / ((span // step + 1) * step) * (_WIDTH - left - _RIGHT)

    parts = []
    foot = _TOP + line * len(bars)
    for number in range(round(span // step) + 2):
        x = across(number * step)
        parts.append(f'<line class="axis" x1="{x:.0f}" y1="{_TOP}" x2="{x:.0f}" y2="{foot}" opacity=".3"/>')
        parts.append(f'<text x="{x:.0f}" y="{foot + 16}" text-anchor="middle">{number * step:g}</text>')
    for number, bar in enumerate(bars):
        y, width = _TOP + number * line, max(1.0, across(bar.end) - across(bar.start))
        parts.append(f'<text x="{left - 8}" y="{y + 16}" text-anchor="end">{escape(bar.label)}</text>')
        parts.append(f'<rect x="{across(bar.start):.1f}" y="{y + 4}" width="{width:.1f}" height="16" fill="#2a6fb0"/>')
        parts.append(f'<text x="{across(bar.end) + 4:.1f}" y="{y + 16}">{bar.end - bar.start:.0f}</text>')
    parts.append(f'<text x="{_WIDTH / 2:.0f}" y="{height - 8}" text-anchor="middle">{escape(x_label)}</text>')
    return _document(height, parts)
