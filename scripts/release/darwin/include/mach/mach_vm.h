/* The one function of macOS's <mach/mach_vm.h> that a package calls (Prometheus's process collector).
   zig brings the types, but not this header. */
#ifndef PCAPSULE_MACH_VM_H
#define PCAPSULE_MACH_VM_H

#include <mach/mach_types.h>

extern kern_return_t mach_vm_region(vm_map_read_t task, mach_vm_address_t *address, mach_vm_size_t *size,
    vm_region_flavor_t flavor, vm_region_info_t info, mach_msg_type_number_t *info_count, mach_port_t *object);

#endif
