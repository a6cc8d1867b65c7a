"""How far can the clip go before a network of your width and depth runs away?"""

from __future__ import annotations

import sparsefield as sf


def main(width: int = 300, depth: int = 100, draws: int = 400) -> None:
    """Slope, other fixed points and escape probability for growing clips."""
    print(f"CReLU, 90 % zeros, width {width}, depth {depth}")
    print("clip   V'(q*)  fixed points              Q mean +- std   escapes")
    for clip in (0.5, 1.0, 1.25, 1.5, 2.0):
        point = sf.solve("crelu", sparsity=0.9, q=1.0, clip=clip)
        finite = sf.finite_width(
            point.variance_map(), point.q, width=width, depth=depth, draws=draws
        )
        fixed = ", ".join(f"{p.q:.3g}" for p in point.fixed_points)
        print(
            f"{clip:<7}{point.slope:<8.3f}{fixed:<26}"
            f"{finite.q_mean:.3f} +- {finite.q_std:.3f}  {finite.escape_probability:.3f}"
        )


if __name__ == "__main__":
    main()
