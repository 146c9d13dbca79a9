"""The events endpoint as the replaced design has it: uvicorn, FastAPI, SQLAlchemy, Redis pub/sub.

    DATABASE_URL=postgresql+asyncpg://… REDIS_URL=redis://… uvicorn events:app --workers 2

It validates with pydantic, stores in one transaction, publishes each event, and answers when all of that is done: what it
acknowledges is as durable as what Fanfare acknowledges. Derived state, signals, retries and dead letters it has none.
"""

import os
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import redis.asyncio
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from sqlalchemy import BigInteger, Boolean, Column, DateTime, Float, ForeignKey, Integer, MetaData, Table, Text, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import create_async_engine

metadata = MetaData()
students = Table(
    "students", metadata,
    Column("id", BigInteger, primary_key=True), Column("user_id", Text, unique=True, nullable=False),
    Column("name", Text), Column("created_at", DateTime(timezone=True), server_default=func.now()),
)
notebooks = Table(
    "notebooks", metadata,
    Column("id", BigInteger, primary_key=True), Column("path", Text, unique=True, nullable=False),
    Column("name", Text), Column("created_at", DateTime(timezone=True), server_default=func.now()),
)
executions = Table(
    "cell_executions", metadata,
    Column("id", BigInteger, primary_key=True), Column("event_id", Text, unique=True, nullable=False),
    Column("student_id", BigInteger, ForeignKey("students.id"), index=True),
    Column("notebook_id", BigInteger, ForeignKey("notebooks.id"), index=True),
    Column("cell_id", Text, index=True), Column("executed_at", DateTime(timezone=True), index=True),
    Column("status", Text), Column("duration", Float), Column("output", Text), Column("code", Text),
    Column("execution_count", Integer), Column("has_error", Boolean),
)


class Event(BaseModel):
    eventId: str
    eventType: str
    eventTime: datetime
    emailAddress: str
    teamName: str | None = None
    userName: str | None = None
    sessionId: str | None = None
    notebookPath: str | None = None
    cellId: str | None = None
    cellIndex: int | None = None
    cellType: str | None = None
    code: str | None = None
    executionCount: int | None = None
    hasError: bool = False
    errorMessage: str | None = None
    result: str | None = None
    executionDurationMs: float | None = None
    metadata: dict[str, Any] | None = None


engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=20, max_overflow=30)
broker = redis.asyncio.from_url(os.environ["REDIS_URL"])


@asynccontextmanager
async def tables(_: FastAPI):
    async with engine.begin() as connection:
        # Several workers start at once.
        await connection.exec_driver_sql("SELECT pg_advisory_xact_lock(1)")
        await connection.run_sync(metadata.create_all)
    yield


app = FastAPI(lifespan=tables)


@app.get("/health")
async def health():
    return {"status": "healthy"}


async def ids(connection, table, key, values):
    """Inserts what is new, in one order for everybody, and answers the id of each."""
    rows = [{key: value, "name": name} for value, name in sorted(values.items())]
    made = insert(table).values(rows)
    made = made.on_conflict_do_update(index_elements=[key], set_={"name": made.excluded.name})
    found = await connection.execute(made.returning(table.c.id, table.c[key]))
    return {value: number for number, value in found}


@app.post("/api/v1/events", status_code=202)
async def receive(events: list[Event]):
    if not events:
        raise HTTPException(400, "empty batch")
    if len(events) > 100:
        raise HTTPException(413, "more than 100 events")
    async with engine.begin() as connection:
        who = await ids(connection, students, "user_id", {event.emailAddress: event.userName for event in events})
        where = await ids(connection, notebooks, "path", {event.notebookPath or "": None for event in events})
        rows = [
            {
                "event_id": event.eventId, "student_id": who[event.emailAddress], "notebook_id": where[event.notebookPath or ""],
                "cell_id": event.cellId, "executed_at": event.eventTime, "status": "error" if event.hasError else "success",
                "duration": event.executionDurationMs, "output": event.result, "code": event.code,
                "execution_count": event.executionCount, "has_error": event.hasError,
            }
            for event in events
        ]
        rows.sort(key=lambda row: row["event_id"])
        await connection.execute(insert(executions).on_conflict_do_nothing(index_elements=["event_id"]), rows)
    pipeline = broker.pipeline(transaction=False)
    for event in events:
        pipeline.publish("progress:events", event.model_dump_json())
    await pipeline.execute()
    return {"message": f"{len(events)} events received and queued", "processed_count": len(events)}
