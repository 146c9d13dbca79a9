"""The inventory's REST API as the replaced design has it: uvicorn, FastAPI, SQLAlchemy, a Redis cache.

    DATABASE_URL=postgresql+asyncpg://… REDIS_URL=redis://… uvicorn rest:app --workers 2

Lists are kept in Redis for a minute and thrown away by every write, which also publishes on `inventory:updates`. It knows no
outbox, no roles, no tags and no limits.
"""

import json
import os
from contextlib import asynccontextmanager
from datetime import datetime, timezone

import redis.asyncio
from fastapi import FastAPI, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy import BigInteger, Boolean, Column, DateTime, MetaData, Numeric, Table, Text, func, select, update
from sqlalchemy.ext.asyncio import create_async_engine

items = Table(
    "inventory_items", MetaData(),
    Column("id", BigInteger, primary_key=True), Column("sku", Text), Column("name", Text), Column("description", Text),
    Column("category", Text), Column("stock_quantity", BigInteger), Column("reserved_quantity", BigInteger),
    Column("weight", Numeric), Column("dimensions", Text), Column("cost_price", Numeric),
    Column("min_stock_level", BigInteger), Column("max_stock_level", BigInteger), Column("is_active", Boolean),
    Column("is_trackable", Boolean), Column("created_at", DateTime(timezone=True)),
    Column("updated_at", DateTime(timezone=True)),
)
available = func.greatest(0, items.c.stock_quantity - items.c.reserved_quantity)
columns = [*items.c, available.label("available_quantity"), (available <= items.c.min_stock_level).label("is_low_stock")]


class Item(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: int
    sku: str
    name: str
    description: str | None
    category: str | None
    stock_quantity: int
    reserved_quantity: int
    available_quantity: int
    is_low_stock: bool
    weight: float | None
    dimensions: str | None
    cost_price: float
    min_stock_level: int
    max_stock_level: int
    is_active: bool
    is_trackable: bool
    created_at: datetime
    updated_at: datetime


class Page(BaseModel):
    items: list[Item]
    pagination: dict


class Adjustment(BaseModel):
    delta: int


@asynccontextmanager
async def lifespan(app: FastAPI):
    app.state.db = create_async_engine(os.environ["DATABASE_URL"], pool_size=20, max_overflow=30)
    app.state.redis = redis.asyncio.from_url(os.environ["REDIS_URL"])
    yield
    await app.state.redis.aclose()
    await app.state.db.dispose()


app = FastAPI(lifespan=lifespan)
KEPT = "cache:inventory"


@app.get("/health")
async def health():
    return {"status": "healthy"}


@app.get("/api/v1/inventory", response_model=Page)
async def listed(request: Request, page: int = 1, limit: int = 50, category: str | None = None,
                 active: bool | None = None, low_stock: bool | None = None):
    key = str(request.url.query)
    if kept := await app.state.redis.hget(KEPT, key):
        return Response(kept, media_type="application/json")
    narrowed = []
    if category is not None:
        narrowed.append(items.c.category == category)
    if active is not None:
        narrowed.append(items.c.is_active == active)
    if low_stock is not None:
        narrowed.append((available <= items.c.min_stock_level) == low_stock)
    async with app.state.db.connect() as db:
        total = await db.scalar(select(func.count()).select_from(items).where(*narrowed))
        rows = await db.execute(
            select(*columns).where(*narrowed).order_by(items.c.id).limit(limit).offset((page - 1) * limit))
        found = [Item.model_validate(row) for row in rows]
    pages = (total + limit - 1) // limit
    answer = Page(items=found, pagination={
        "page": page, "limit": limit, "total_items": total, "total_pages": pages,
        "has_next": page < pages, "has_prev": page > 1})
    body = answer.model_dump_json()
    async with app.state.redis.pipeline(transaction=False) as pipe:
        await pipe.hset(KEPT, key, body).expire(KEPT, 60).execute()
    return Response(body, media_type="application/json")


@app.get("/api/v1/inventory/{id}", response_model=Item)
async def one(id: int):
    async with app.state.db.connect() as db:
        row = (await db.execute(select(*columns).where(items.c.id == id))).first()
    if row is None:
        raise HTTPException(404)
    return Item.model_validate(row)


@app.post("/api/v1/inventory/{id}/adjust", response_model=Item)
async def adjust(id: int, adjustment: Adjustment):
    async with app.state.db.begin() as db:
        changed = await db.execute(
            update(items).where(items.c.id == id, items.c.stock_quantity + adjustment.delta >= 0)
            .values(stock_quantity=items.c.stock_quantity + adjustment.delta, updated_at=datetime.now(timezone.utc))
            .returning(*columns))
        row = changed.first()
    if row is None:
        raise HTTPException(409)
    item = Item.model_validate(row)
    update_message = {
        "message_type": "inventory_update", "action": "updated", "item_id": item.id, "sku": item.sku, "name": item.name,
        "stock_quantity": item.stock_quantity, "available_quantity": item.available_quantity,
        "is_low_stock": item.is_low_stock, "timestamp": item.updated_at.isoformat()}
    async with app.state.redis.pipeline(transaction=False) as pipe:
        await pipe.delete(KEPT).publish("inventory:updates", json.dumps(update_message)).execute()
    return item
