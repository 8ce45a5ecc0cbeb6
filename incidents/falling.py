"""Faults: how each befalls a world, and is over."""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from incidents.loop import Loop
from incidents.schedule import (
    Crash,
    Damage,
    Fault,
    Leap,
    Partition,
    Slow,
    Step,
    Trouble,
    process_name,
)

if TYPE_CHECKING:
    from incidents.world import World


async def befall(world: "World", fault: Fault) -> None:
    """Let a fault begin at its time, and end."""
    await world.until(fault.at)
    world.note(f"{fault}")
    network, kind = world.network, type(fault).__name__.lower()
    if isinstance(fault, Slow):
        world.met[kind] += 1
        with network.slower(*fault.ends, fault.extra):
            await world.until(fault.until)
    elif isinstance(fault, Partition):
        world.met[kind] += 1
        network.block(*fault.ends, set(fault.silent))
        await world.until(fault.until)
        network.heal(*fault.ends)
    elif isinstance(fault, Damage):
        after, how = fault.after, fault.how
        with network.damaged(*fault.ends, after=after, how=how, back=fault.back):
            await world.until(fault.until)
    elif isinstance(fault, Crash):
        await _crash(world, fault)
    elif isinstance(fault, Trouble):
        troubles = world.servers.troubles[fault.process]
        troubles.append(fault)
        await world.until(fault.until)
        troubles.remove(fault)
    else:
        world.met[kind] += 1
        _move_time(world, fault)


async def _crash(world: "World", fault: Crash) -> None:
    name = process_name(fault.process)
    process = next(p for p in reversed(world.processes) if p.host.name == name)
    host = process.host
    if not host.is_up:
        return  # another has killed it
    world.met["power cut" if fault.silent else "kill"] += 1
    world.crashes.append((host, asyncio.get_running_loop().time()))
    world.network.end(host, silently=fault.silent)
    for task in in_order(asyncio.all_tasks()):
        if task.home is host:
            task.cancel()
    await world.until(fault.until)
    new = world.servers.start(fault.process)
    world.processes.append(new)
    world.network.return_of(host, new.host)


def _move_time(world: "World", fault: Leap | Step) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    if isinstance(fault, Step):
        loop.stepped += fault.by
    else:
        before = loop.time()
        loop.leap(fault.by)
        world.leaps.append((before, loop.time()))


def in_order(tasks: Iterable[Any]) -> list[Any]:
    """Return tasks in the order in which they were made."""
    return sorted(tasks, key=lambda task: int(task.number))
