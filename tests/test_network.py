"""A fresh network is noticed, a lost one is waited out."""

from mcpproxy.network import NetworkWatch, local_addresses


class Machine:
    def __init__(self, *addresses: str) -> None:
        self.addresses = frozenset(addresses)

    def __call__(self) -> frozenset[str]:
        return self.addresses


def test_another_address_is_a_fresh_network() -> None:
    machine = Machine("192.168.1.7")
    watch = NetworkWatch(machine)
    assert not watch.look()
    machine.addresses = frozenset({"10.0.0.5"})
    assert watch.look()
    assert not watch.look()


def test_a_network_that_comes_back_is_fresh_and_one_that_goes_is_not() -> None:
    machine = Machine("192.168.1.7")
    watch = NetworkWatch(machine)
    machine.addresses = frozenset()
    assert not watch.look()
    machine.addresses = frozenset({"192.168.1.7"})
    assert watch.look()


def test_a_second_way_out_is_fresh_too() -> None:
    machine = Machine("192.168.1.7")
    watch = NetworkWatch(machine)
    machine.addresses = frozenset({"192.168.1.7", "fd00::7"})
    assert watch.look()
    machine.addresses = frozenset({"192.168.1.7"})
    assert not watch.look()


def test_asking_the_system_never_fails() -> None:
    assert all(isinstance(address, str) for address in local_addresses())
