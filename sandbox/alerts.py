"""An alert as Azure Monitor's common alert schema has it, for the alerts queue."""

from typing import Any
from uuid import uuid4

from sandbox.clock import utc_now
from sandbox.local import GROUP


def fired(rule: str, target: str, *, severity: int = 1) -> dict[str, Any]:
    """A metric alert of `rule` that has just fired on the resource `target` (an ARM id)."""
    subscription = GROUP.partition("/resourceGroups")[0]
    number = str(uuid4())
    fired_at = utc_now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    management = f"{subscription}/providers/Microsoft.AlertsManagement"
    return {
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": {
            "essentials": {
                "alertId": f"{management}/alerts/{number}",
                "alertRule": rule,
                "alertRuleID": f"{GROUP}/providers/Microsoft.Insights/metricAlerts/{rule}",
                "severity": f"Sev{severity}",
                "signalType": "Metric",
                "monitorCondition": "Fired",
                "monitoringService": "Platform",
                "alertTargetIDs": [target.lower()],
                "configurationItems": [target.rpartition("/")[2]],
                "originAlertId": number,
                "firedDateTime": fired_at,
                "description": "",
                "essentialsVersion": "1.0",
                "alertContextVersion": "1.0",
            },
            "alertContext": {"conditionType": "SingleResourceMultipleMetricCriteria"},
        },
    }
