"""Study: attention of low rank, by singular values, by a factored product, and by Linformer's projection."""

from typing import Any

import numpy as np

from experiments.studies.checks import check_size
from experiments.studies.counters import count
from experiments.studies.sides import Side, both, numbers
from experiments.studies.study import ALLOWED, EPS, Claim, Curve, Figure, Findings

POINTS = 8  # ranks of the figure


def low_rank(n: int = 24, d: int = 6, rank: int = 4, seed: int = 0) -> Findings:
    """Attention of n random queries, keys and values of width d; the rank k of what stands in for it is at most n."""
    n, d = check_size("n", n, least=2), check_size("d", d)
    rank = check_size("rank", rank, most=n, why=f"the attention of {n} positions has no more singular values")
    generator = np.random.default_rng(check_size("seed", seed, least=0))
    Q, K, V = (generator.standard_normal((n, d)) for _ in range(3))
    claims = [
        *_by_svd(Q, K, V, rank, generator),
        *_costs(n, d, rank),
        *_factored(Q, K, V),
        *_linformer(Q, K, V, rank, generator),
    ]
    return Findings(claims, [_figure(Q, K, V, rank)])


def weights_of(side: Side, Q: Any, K: Any) -> Any:
    """P = softmax(Q K^T / sqrt(d))."""
    parts = side.components
    return parts.attn_softmax(parts.attn_scaled(parts.pairwise_similarities(Q, K), Q.shape[-1], 1))


def _by_svd(Q: np.ndarray, K: np.ndarray, V: np.ndarray, rank: int, generator: np.random.Generator) -> list[Claim]:
    n = len(Q)
    half, other = generator.standard_normal((2, n, rank))
    of_low_rank = half @ other.T / np.linalg.norm(half @ other.T, 2)

    def error(side: Side, P: Any, rank: int) -> Any:
        values = side.array(V)
        return abs(side.components.low_rank_attention(P, values, rank) - P @ values).max() / np.abs(V).max()

    def beyond(side: Side) -> Any:
        P, values = weights_of(side, side.array(Q), side.array(K)), side.array(V)
        gap = side.components.low_rank_attention(P, values, rank) - P @ values
        return side.xp.linalg.norm(gap) / (side.xp.linalg.svd(P)[1][rank] * side.xp.linalg.norm(values))

    rounded = 3 * n**1.5 * EPS  # two products of n entries and the decomposition, of a matrix of norm sqrt(n) at most
    claims = [
        Claim("A weight matrix of rank k is its k singular values", f"rank P = k = {rank}: P V = U (S (R^T V))",
              numbers(lambda side: error(side, side.array(of_low_rank), rank)), rounded),
        Claim("All n singular values give softmax attention", "k = n: softmax(Q K^T / sqrt(d)) V = U (S (R^T V))",
              numbers(lambda side: error(side, weights_of(side, side.array(Q), side.array(K)), n)), rounded),
    ]  # fmt: skip
    if rank < n:
        formula = f"k = {rank}: |P V - U (S (R^T V))| / (s_(k+1) |V|) <= 1"
        words = "With fewer, the error is at most the first one left out"
        claims.append(Claim(words, formula, numbers(beyond), 1 + rounded))
    return claims


def multiply(side: Side, U: Any, S: Any, Rt: Any, V: Any) -> Any:
    """U (S (R^T V)): (n, k), (k), (k, n), (n, d) -> (n, d)."""
    return U @ (S[:, None] * (Rt @ V))


def _costs(n: int, d: int, rank: int) -> list[Claim]:
    """The products, counted by the frameworks."""

    def flops(side: Side, d: int) -> float:
        shapes = ((n, rank), (rank,), (rank, n), (n, d))
        arrays = [side.array(np.ones(shape)) for shape in shapes]
        return count(side, lambda U, S, Rt, V: multiply(side, U, S, Rt, V), *arrays).flops

    return [
        Claim("The products cost O(n k d)", "(FLOPs - 4 n k d) / (k d) <= 1: two products, and the singular values",
              numbers(lambda side: (flops(side, d) - 4 * n * rank * d) / (rank * d)), 1.0),
        Claim("The published cost is O(n k), whatever the width", "FLOPs at 2 d / FLOPs at d = 1",
              numbers(lambda side: flops(side, 2 * d) / flops(side, d) - 1), ALLOWED, wrong=True),
    ]  # fmt: skip


def _factored(Q: np.ndarray, K: np.ndarray, V: np.ndarray) -> list[Claim]:
    """Without a softmax: C = D = B^T of an orthonormal basis B of the columns of K changes nothing, as B B^T K = K."""

    def error(side: Side) -> Any:
        q, keys, values = map(side.array, (Q, K, V))
        basis = side.xp.linalg.svd(keys, full_matrices=False)[0].T
        found = side.components.projected_attention(q, keys, values, basis, basis, normalised=False)
        expected = (q @ keys.T) @ values
        return abs(found - expected).max() / abs(expected).max()

    size = np.linalg.norm(Q, 2) * np.linalg.norm(K, 2) * np.linalg.norm(V, 2) / np.abs(Q @ K.T @ V).max()
    return [
        Claim("Without a softmax, min(n, d) mixtures of keys and of values are enough",
              "P = Q K^T, C = D = B^T, B B^T K = K: Q (C K)^T (D V) = P V", numbers(error), 4 * len(Q) * EPS * size),
    ]  # fmt: skip


def _linformer(Q: np.ndarray, K: np.ndarray, V: np.ndarray, rank: int, generator: np.random.Generator) -> list[Claim]:
    """C picks one place of each token, D averages all places of it, of which there are equally many."""
    n = len(Q) - len(Q) % rank
    Q, K, V = Q[:n], K[:n], V[:n]
    token = generator.permutation(np.arange(n) % rank)
    D = (token == np.arange(rank)[:, None]) * (rank / n)
    C = np.eye(n)[[np.argmax(token == kind) for kind in range(rank)]]

    def error(side: Side, K: np.ndarray, V: np.ndarray) -> Any:
        q, keys, values = map(side.array, (Q, K, V))
        found = side.components.projected_attention(q, keys, values, side.array(C), side.array(D))
        return abs(found - weights_of(side, q, keys) @ values).max() / abs(values).max()

    formula, size = "softmax(Q (C K)^T / sqrt(d)) D V = P V", np.abs(Q @ K.T).max()
    rounded = 2 * (n + Q.shape[1] * size) * EPS
    claims = [
        Claim(f"Linformer's projection is exact for a sequence of k = {rank} tokens, each of them equally often",
              f"{formula}, C picks each token once, D averages its places",
              numbers(error, K[token], V[token]), rounded),
    ]  # fmt: skip
    if rank < n:
        words = "It is exact for a sequence of full rank, too"
        full = numbers(error, K, V)
        claims.append(Claim(words, f"{formula}, all tokens different", full, rounded, wrong=True))
    return claims


def _figure(Q: np.ndarray, K: np.ndarray, V: np.ndarray, rank: int) -> Figure:
    """The error of the best k singular values, for keys of low and of full rank."""
    ranks = np.unique(np.geomspace(1, len(Q), POINTS).astype(int))

    def errors(side: Side, K: np.ndarray) -> Any:
        P, values = weights_of(side, side.array(Q), side.array(K)), side.array(V)
        low = (side.components.low_rank_attention(P, values, int(k)) - P @ values for k in ranks)
        return side.xp.stack([abs(each).max() for each in low])

    repeated = K[np.arange(len(K)) % rank]
    curves = [
        Curve(label, ranks, both(errors, keys))
        for label, keys in {f"{rank} different keys": repeated, "all keys different": K}.items()
    ]
    caption = "The largest error of softmax attention from its k largest singular values."
    return Figure("low_rank", caption, "rank k", "largest error", curves, "y")
