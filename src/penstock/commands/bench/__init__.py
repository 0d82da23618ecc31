"""`penstock bench`: what the service can do, measured, and peers that do the same work."""

import typer

from penstock.commands.bench.capacity import capacity
from penstock.commands.bench.compare import compare
from penstock.commands.bench.console_cost import console_cost
from penstock.commands.bench.grants import grants
from penstock.commands.bench.ledger import ledger
from penstock.commands.bench.load import load
from penstock.commands.bench.media import media
from penstock.commands.bench.motion import motion
from penstock.commands.bench.neighbour import neighbour
from penstock.commands.bench.peers import peers
from penstock.commands.bench.platform import platform
from penstock.commands.bench.policy_cost import policy_cost
from penstock.commands.bench.pressure import pressure
from penstock.commands.bench.runs import runs
from penstock.commands.bench.scale import scale
from penstock.commands.bench.show import show
from penstock.commands.bench.sync import sync

app = typer.Typer(
    help="Measure this service, and peers that do the same work. Loopback only.",
    no_args_is_help=True,
)
app.command()(load)
app.command()(capacity)
app.command()(peers)
app.command()(scale)
app.command()(pressure)
app.command()(neighbour)
app.command()(policy_cost)
app.command()(console_cost)
app.command()(ledger)
app.command()(sync)
app.command()(runs)
app.command()(media)
app.command()(motion)
app.command()(platform)
app.command()(compare)
app.command()(show)
app.command()(grants)
