"""What most teams would write: FastAPI validates, asyncpg inserts one row in one transaction, Celery publishes.

It does what `POST /api/generate` does and no more: the same fields and limits, a durable row, a durable message, 202 with
the job. The row is committed before the message is published, as in the fleet.
"""

import os
import secrets
import uuid
from contextlib import asynccontextmanager
from enum import Enum

import asyncpg
from fastapi import FastAPI, Header, Request, status
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from tasks import render

TENANT = uuid.UUID(int=0)
INSERT = """
    INSERT INTO baseline_jobs (id, tenant_id, prompt, video_size, video_length, infer_steps, quality_tier, seed, cfg_scale,
                               flow_reverse, idempotency_key)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    ON CONFLICT DO NOTHING
    RETURNING created_at
"""


class Tier(str, Enum):
    auto = "auto"
    preview = "preview"
    standard = "standard"
    premium = "premium"


class Generate(BaseModel):
    model_config = ConfigDict(extra="forbid")

    prompt: str = Field(min_length=1, max_length=2000)
    video_size: str = Field("540p", pattern=r"^(540p|720p)$")
    video_length: int = Field(129, ge=1, le=129)
    infer_steps: int = Field(0, ge=0, le=100)
    quality_tier: Tier = Tier.auto
    seed: int | None = Field(None, ge=0)
    cfg_scale: float = Field(6.0, ge=0, le=20)
    flow_reverse: bool = True


@asynccontextmanager
async def lifespan(app: FastAPI):
    app.state.pool = await asyncpg.create_pool(os.environ["BASELINE_PG"], min_size=4, max_size=16)
    yield
    await app.state.pool.close()


app = FastAPI(lifespan=lifespan)


@app.get("/livez")
async def livez() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/api/generate", status_code=status.HTTP_202_ACCEPTED)
async def generate(body: Generate, request: Request, idempotency_key: str | None = Header(None)) -> dict[str, object]:
    job_id = uuid.uuid4()
    seed = body.seed if body.seed is not None else secrets.randbits(63)
    created_at = await request.app.state.pool.fetchval(
        INSERT, job_id, TENANT, body.prompt, body.video_size, body.video_length, body.infer_steps, body.quality_tier.value,
        seed, body.cfg_scale, body.flow_reverse, idempotency_key,
    )
    # Celery's client is synchronous; calling it on the event loop would stop every other request.
    await run_in_threadpool(render.apply_async, (str(job_id),))
    return {
        "job_id": str(job_id), "status": "queued", "request": {**body.model_dump(mode="json"), "seed": seed},
        "created_at": created_at.isoformat() if created_at else None,
    }
