"""The page of an audit: one HTML file with verdict, confusion matrix, curve and plants."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robot_agent.evaluate.figures import curves, rate_bars
from robot_agent.evaluate.report_page import PAGE, STYLE, escaped, html_table, section
from robot_agent.store.durable import replace_file, storage_errors


def write_audit_page(path: Path, results: Mapping[str, Any]) -> None:
    """Write one HTML file that needs no other; StorageError when it cannot be written.

    Args:
        path: File to write; it appears whole.
        results: As `Audit.to_json` gives them.
    """
    parts = [_instruction(name, found) for name, found in results["instructions"].items()]
    page = PAGE.substitute(
        title="Audit of a judge",
        lead=f"Judge {escaped(results['judge'])} may be used to: {results['use']}.",
        style=STYLE,
        body="\n".join(parts) or "<p>No instruction had enough clips for an audit.</p>",
    )
    with storage_errors("writing the page", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, page.encode())


def _instruction(name: str, found: Mapping[str, Any]) -> str:
    reasons = "; ".join(found["reasons"]) or "nothing keeps it from being a reward"
    counts = found["report"].get("confusion")
    if not counts:
        return section(name, f"Allowed: {found['use']}. {reasons}.")
    matrix = html_table(
        ("", "said success", "said failure"),
        (
            ("was success", counts["true_positives"], counts["false_negatives"]),
            ("was failure", counts["false_positives"], counts["true_negatives"]),
        ),
    )
    roc = [(fpr, tpr) for _, fpr, tpr in found["roc"]]
    plants = {
        kind: (entry["fooled"] / max(1, entry["of"]), *entry["interval"])
        for kind, entry in found["plants"].items()
    }
    return section(
        name,
        f"Allowed: {found['use']}. {reasons}. Threshold {found['threshold']:.3f}; the other half "
        f"of {found['clips']} clips says {found['calibrated']:.3f}; {found['unknown']} unknown. "
        f"Area under the curve {found['auc']:.3f}. The bars show how often it took a "
        f"clip for a success that was made to fool it.",
        matrix,
        curves({"judge": roc}, "ROC", "false alarms", "successes found"),
        rate_bars(plants, "planted clips taken for success") if plants else "",
    )
