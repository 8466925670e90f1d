"""Class-query attention heads of ICL: class queries attend to decoder maps, draw class maps.

Zhu, Yang, Liu, Zhang, "Inherent Consistent Learning for Accurate Semi-supervised Medical Image
Segmentation", MIDL 2023: its SSPA and USCL are two `ClassHead`s.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffrect.networks.quick import at_least_single

WIDTHS = (128, 64, 32)
HEADS = (8, 4, 2)


class DropPath(nn.Module):
    """Dropout of whole rows with probability `share` in training; the others are scaled up."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """Drop rows of (B, ...)."""
        if not self.training or self.share == 0:
            return x
        shape = (len(x), *[1] * (x.ndim - 1))
        kept = torch.rand(shape, device=x.device) >= self.share
        return x * kept.to(x.dtype) / (1 - self.share)


class ClassAttention(nn.Module):
    """Attention of class queries to the tokens of one scale.

    Args:
        channels: C of the decoder's map.
        heads: attention heads.
        side: side of the token grid; a larger map is pooled to side x side tokens.
        drop_path: share of rows that `DropPath` drops.
        answers: whether it returns new queries besides the maps.
        raw_reshape: queries and outputs are reshaped between (K, C) and (heads, K, C / heads)
            without a transpose, as the released code does, which mixes classes and heads.
        second_norm: whether tokens are normalised once more, with weights of its own.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        side: int,
        *,
        drop_path: float,
        answers: bool,
        raw_reshape: bool,
        second_norm: bool,
    ) -> None:
        super().__init__()
        self.heads, self.side, self.raw_reshape = heads, side, raw_reshape
        tokens = side * side
        self.tokens = nn.Conv2d(channels, channels, 1)
        self.token_norm, self.query_norm = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.second_norm = nn.LayerNorm(channels) if second_norm else nn.Identity()
        self.to_query, self.to_key = (nn.Linear(channels, channels) for _ in range(2))
        self.to_value = nn.Linear(channels, channels) if answers else None
        self.output = nn.Linear(channels, channels) if answers else None
        self.query_mlp = _norm_and_mlp(channels, 4 * channels) if answers else None
        self.map_mlp = _norm_and_mlp(tokens, tokens)
        self.drop_path = DropPath(drop_path)
        self.draw = nn.Sequential(  # depthwise-separable convolution, then one map
            nn.Conv2d(heads, heads, 3, padding=1, groups=heads),
            nn.BatchNorm2d(heads),
            nn.ReLU(),
            nn.Conv2d(heads, heads, 1),
            nn.BatchNorm2d(heads),
            nn.ReLU(),
            nn.Conv2d(heads, 1, 1),
        )

    def forward(self, features: Tensor, query: Tensor) -> tuple[Tensor, Tensor | None]:
        """Draw maps (B, K, side, side) and new queries, or None for the latter.

        Args:
            features: (B, C, h, w).
            query: (B, K, C).
        """
        classes, channels = query.shape[1:]
        if features.shape[-2:] != (self.side, self.side):
            features = F.adaptive_avg_pool2d(features, self.side)
        tokens = self.tokens(features).flatten(2).transpose(1, 2)  # (B, N, C)
        tokens = self.second_norm(self.token_norm(tokens))
        asked = self._split(self.to_query(self.query_norm(query)), self.raw_reshape)
        key = self._split(self.to_key(tokens))
        scores = asked @ key.transpose(2, 3) / (channels / self.heads) ** 0.5  # (B, heads, K, N)
        answer = self._answer(scores, tokens)
        scores = scores + self.drop_path(scores)
        scores = scores + self.drop_path(self.map_mlp(scores))
        # (B K, heads, side, side): every class is drawn by the same convolutions
        stack = scores.transpose(1, 2).reshape(-1, self.heads, self.side, self.side)
        drawn = at_least_single(self.draw(stack))
        return drawn.view(-1, classes, self.side, self.side), answer

    def _answer(self, scores: Tensor, tokens: Tensor) -> Tensor | None:
        """Return new queries (B, K, C) of scores (B, heads, K, N) and tokens (B, N, C)."""
        if self.to_value is None or self.output is None or self.query_mlp is None:
            return None
        attended = scores.softmax(dim=3) @ self._split(self.to_value(tokens))
        if not self.raw_reshape:
            attended = attended.transpose(1, 2)  # (B, K, heads, C / heads)
        answer = self.output(attended.reshape(len(tokens), scores.shape[2], tokens.shape[2]))
        answer = answer + self.drop_path(answer)
        answered: Tensor = answer + self.drop_path(self.query_mlp(answer))
        return answered

    def _split(self, x: Tensor, raw: bool = False) -> Tensor:
        """Split channels into heads: (B, n, C) -> (B, heads, n, C / heads)."""
        rows, count, channels = x.shape
        if raw:
            return x.reshape(rows, self.heads, count, channels // self.heads)
        return x.reshape(rows, count, self.heads, channels // self.heads).transpose(1, 2)


class ClassHead(nn.Module):
    """`ClassAttention` on the decoder's maps at 1/8, 1/4 and 1/2 of the resolution.

    Args:
        classes: K.
        sides: side of the token grid at each scale.
        learns_queries: whether it holds a start query, zero at first, and passes each scale's
            queries on to the next through a convolution (SSPA), or is given the queries of every
            scale (USCL).
        drop_path: see `ClassAttention`.
        raw_reshape: see `ClassAttention`.
        second_norm: see `ClassAttention`.
    """

    def __init__(
        self,
        classes: int,
        sides: Sequence[int],
        *,
        learns_queries: bool,
        drop_path: float = 0.02,
        raw_reshape: bool = False,
        second_norm: bool = True,
    ) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            ClassAttention(
                width,
                heads,
                side,
                drop_path=drop_path,
                answers=learns_queries,
                raw_reshape=raw_reshape,
                second_norm=second_norm,
            )
            for width, heads, side in zip(WIDTHS, HEADS, sides, strict=True)
        )
        self.start = nn.Parameter(torch.zeros(classes, WIDTHS[0])) if learns_queries else None
        self.onward = nn.ModuleList(
            nn.Conv1d(width, width // 2, 1) for width in WIDTHS[:-1] if learns_queries
        )

    def forward(
        self, features: Sequence[Tensor], given: Sequence[Tensor] | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Draw the class maps (B, K, side, side) of each scale.

        Args:
            features: the decoder's maps, coarse to fine.
            given: queries (1, K, C) of each scale, for a head that learns none.

        Returns:
            The maps, and the new queries (B, K, C) of each scale if the head learns them.
        """
        maps: list[Tensor] = []
        queries: list[Tensor] = []
        for level, (scale, feature) in enumerate(zip(self.scales, features, strict=True)):
            if given is not None:
                query = given[level]
            elif level == 0:
                assert self.start is not None
                query = self.start[None]
            else:
                query = self.onward[level - 1](queries[-1].transpose(1, 2)).transpose(1, 2)
            drawn, answer = scale(feature, query.expand(len(feature), -1, -1))
            maps.append(drawn)
            if answer is not None:
                queries.append(answer)
        return maps, queries


def _norm_and_mlp(width: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)
    )
