"""``neuron-gan COMMAND …``: the commands of the project under its own name."""

from __future__ import annotations

import runpy
import sys

#: Command → the module that ``python -m`` runs.
COMMANDS = {
    "figures": "figure_reproduction",
    "source-data": "core.source_data",
    "export": "source_data_export",
    "simulate": "neuro_data_analysis.simulate_recordings",
    "weights": "core.utils.GAN_utils",
    "paired-evolution": "core.insilico.paired_evolution",
    "evolution-analysis": "core.insilico.evolution_analysis",
    "sweeps": "core.insilico.sweeps",
    "hessians": "core.insilico.gan_hessians",
    "linearity": "core.insilico.latent_linearity",
    "alignment": "core.insilico.realnvp_alignment",
    "rig": "core.rig",
}


def main() -> int:
    """Run a command as ``python -m neuron_gan.MODULE`` does; without one, list them."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        listed = "".join(f"  {command:20}{module}\n" for command, module in COMMANDS.items())
        said = "" if name in ("", "-h", "--help") else f"error: unknown command {name!r}.\n"
        (sys.stderr if said else sys.stdout).write(
            f"{said}neuron-gan COMMAND …; each has --help\n{listed}"
        )
        return 2 if said else 0
    sys.argv[:2] = [f"neuron-gan {name}"]
    runpy.run_module(f"neuron_gan.{COMMANDS[name]}", run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
