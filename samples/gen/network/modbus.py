"""A Modbus server and a client that notes what it did."""
import sys

from pymodbus import ModbusDeviceIdentification
from pymodbus.client import ModbusTcpClient
from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.server import StartTcpServer


def serve(host):
    def block():
        return ModbusSequentialDataBlock(1, [17] * 100)

    device = ModbusDeviceContext(di=block(), co=block(), hr=block(), ir=block())
    names = ModbusDeviceIdentification(info_name={"VendorName": "shop", "ProductCode": "P1"})
    StartTcpServer(context=ModbusServerContext(devices={1: device}, single=False), identity=names, address=(host, 502))


def talk(host, said):
    client = ModbusTcpClient(host, port=502)
    client.connect()
    lines = ["# function\taddress\tresult\n"]

    def did(address, answer):
        code = answer.function_code
        result = f"exception {answer.exception_code}" if answer.isError() else " ".join(map(str, answer.registers)) if code in (3, 4, 23) else "ok"
        lines.append(f"{code & 0x7f}\t{address}\t{result}\n")

    did(1, client.write_coil(1, True))
    did(1, client.read_coils(1, count=12))
    did(2, client.read_discrete_inputs(2, count=3))
    did(5, client.write_register(5, 4711))
    did(5, client.read_holding_registers(5, count=2))
    did(7, client.write_registers(7, [1, 2, 65535]))
    did(7, client.read_holding_registers(7, count=3))
    did(3, client.read_input_registers(3, count=1))
    did(10, client.write_coils(10, [True, False, True]))
    did(7, client.mask_write_register(address=7, and_mask=0xF0F0, or_mask=0x0101))
    did(7, client.readwrite_registers(read_address=7, read_count=2, write_address=20, values=[8, 9]))
    did("", client.read_device_information(read_code=1, object_id=0))
    did("", client.report_device_id())
    did(4000, client.read_holding_registers(4000, count=1))
    did(5000, client.write_register(5000, 1))
    client.close()
    with open(said, "w", encoding="utf-8") as f:
        f.writelines(lines)


if sys.argv[1] == "server":
    serve(sys.argv[2])
else:
    talk(sys.argv[2], sys.argv[3])
