"""Terms of leases, against a naive list of deadlines."""

from hypothesis import given
from hypothesis import strategies as st

from podway.hub.terms import GRACE_S, Term, Terms, start_term, with_grace

NAMES = st.sampled_from("abcd")
STEPS = st.one_of(
    st.tuples(st.just("set"), NAMES, st.integers(0, 20)),
    st.tuples(st.just("remove"), NAMES, st.just(0)),
    st.tuples(st.just("wait"), NAMES, st.integers(0, 15)),
)


@given(st.lists(STEPS, max_size=40))
def test_each_lease_ends_once_and_in_time(steps: list[tuple[str, str, int]]) -> None:
    terms, naive, now_s = Terms(), dict[str, Term](), 0.0
    for action, name, number in steps:
        if action == "set":
            term = start_term(name, number, now_s)
            terms.set(term)
            naive[name] = term
        elif action == "remove":
            terms.remove(name)
            naive.pop(name, None)
        else:
            now_s += number
            due = {n for n, t in naive.items() if t.ttl_s and t.deadline_s <= now_s}
            ended = terms.ended(now_s)
            assert set(ended) == due
            assert len(ended) == len(due)
            for gone in ended:
                terms.remove(gone)
                naive.pop(gone)
    assert {name: terms.get(name) for name in naive} == naive
    assert len(terms) == len(naive)


@given(st.integers(1, 10**6), st.floats(0, 1e6), st.floats(0, 1e6))
def test_grace_is_never_longer_than_a_renewal_would_be(
    ttl_s: int, deadline_s: float, now_s: float
) -> None:
    term = with_grace(Term("a", ttl_s, deadline_s), now_s)
    assert term.deadline_s >= deadline_s
    assert term.deadline_s >= now_s + min(ttl_s, GRACE_S)
    assert term.deadline_s <= max(deadline_s, start_term("a", ttl_s, now_s).deadline_s)
