"""The Celery application: one task, published with confirms so that an accepted job is as durable as ours."""

import os

from celery import Celery

app = Celery("baseline", broker=os.environ["BASELINE_AMQP"])
app.conf.update(
    broker_transport_options={"confirm_publish": True},
    task_ignore_result=True,
    task_default_queue="baseline",
    task_serializer="json",
)


@app.task(name="baseline.render")
def render(job_id: str) -> None:
    """Never run here: the benchmark measures submissions."""
