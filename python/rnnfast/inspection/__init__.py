"""A look inside trained models: which units mean something.

inspection.save_html("report.html")
"""

from rnnfast.inspection.result import Concept, Inspection, Probe

__all__ = ["Concept", "Inspection", "Probe"]
