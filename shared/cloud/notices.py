"""Notices as log records: where Application Insights collects them, a query away from an alert.

One record per sentence, with the rollout's name as a field of its own (`customDimensions` there).
"""

import logging

log = logging.getLogger("linnet.rollouts")


class LogNotices:
    """Says sentences into the log."""

    async def tell(self, rollout: str, sentence: str) -> None:
        """One record, on one line whatever the sentence holds. Never raises."""
        log.info("%s: %s", rollout, " ".join(sentence.split()), extra={"rollout": rollout})
