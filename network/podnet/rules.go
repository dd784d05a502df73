package podnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

const (
	tableName    = "tenet-podnet"
	hostPortsMap = "hostports"
)

// table is the nftables table of one bridge.
func table(bridge string) *nftables.Table {
	name := tableName
	if bridge != "tenet0" {
		name += "-" + bridge
	}
	return &nftables.Table{Name: name, Family: nftables.TableFamilyIPv4}
}

// hostPorts maps (protocol, port, address of the node or 0.0.0.0) to (address of the pod, port).
func hostPorts(t *nftables.Table) *nftables.Set {
	return &nftables.Set{
		Table: t, Name: hostPortsMap, IsMap: true, Concatenation: true,
		KeyType:  nftables.MustConcatSetType(nftables.TypeInetProto, nftables.TypeInetService, nftables.TypeIPAddr),
		DataType: nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService),
	}
}

// ensureRules writes the table's rules anew, in one transaction, and leaves the host ports that the CNI plugin put into the map:
//
//	map hostports { type inet_proto . inet_service . ipv4_addr : ipv4_addr . inet_service }
//	chain dnat        { dnat to meta l4proto . th dport . ip daddr map @hostports; dnat to meta l4proto . th dport . 0.0.0.0 map @hostports }
//	chain prerouting  { type nat hook prerouting priority dstnat; fib daddr type local jump dnat }
//	chain output      { type nat hook output priority dstnat; fib daddr type local jump dnat }
//	chain postrouting { type nat hook postrouting priority srcnat;
//	                    ip saddr <pods> ip daddr != <cluster> oifname != <bridge> masquerade
//	                    ip saddr 127.0.0.0/8 oifname <bridge> masquerade
//	                    ip saddr <pods> ct status dnat oifname <bridge> masquerade }
func ensureRules(bridge string, pods, cluster netip.Prefix) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	t := c.AddTable(table(bridge))
	m := hostPorts(t)
	if err := c.AddSet(m, nil); err != nil {
		return err
	}
	chain := func(name string, hook *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
		ch := &nftables.Chain{Table: t, Name: name}
		if hook != nil {
			ch.Type, ch.Hooknum, ch.Priority = nftables.ChainTypeNAT, hook, priority
		}
		ch = c.AddChain(ch)
		c.FlushChain(ch)
		return ch
	}
	dnat := chain("dnat", nil, nil)
	pre := chain("prerouting", nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest)
	out := chain("output", nftables.ChainHookOutput, nftables.ChainPriorityNATDest)
	post := chain("postrouting", nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	add := func(ch *nftables.Chain, parts ...[]expr.Any) {
		r := &nftables.Rule{Table: t, Chain: ch}
		for _, p := range parts {
			r.Exprs = append(r.Exprs, p...)
		}
		c.AddRule(r)
	}
	add(dnat, hostPortLookup(m, false))
	add(dnat, hostPortLookup(m, true))
	toNode := []expr.Any{
		&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
		&expr.Verdict{Kind: expr.VerdictJump, Chain: dnat.Name},
	}
	add(pre, toNode)
	add(out, toNode)

	masquerade := []expr.Any{&expr.Masq{}}
	add(post, address(saddr, expr.CmpOpEq, pods), address(daddr, expr.CmpOpNeq, cluster), outInterface(expr.CmpOpNeq, bridge), masquerade)
	add(post, address(saddr, expr.CmpOpEq, netip.MustParsePrefix("127.0.0.0/8")), outInterface(expr.CmpOpEq, bridge), masquerade)
	add(post, address(saddr, expr.CmpOpEq, pods), translated(), outInterface(expr.CmpOpEq, bridge), masquerade)
	return c.Flush()
}

func removeRules(bridge string) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	c.DelTable(table(bridge))
	if err := c.Flush(); err != nil && !errors.Is(err, syscall.ENOENT) {
		return fmt.Errorf("remove nftables table %s: %w", table(bridge).Name, err)
	}
	return nil
}

const (
	reg32 = 8 // NFT_REG32_00: the first of 16 registers of 4 bytes, which concatenations use
	saddr = 12
	daddr = 16
)

func hostPortLookup(m *nftables.Set, anyAddress bool) []expr.Any {
	e := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg32},
		&expr.Payload{DestRegister: reg32 + 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
	}
	if anyAddress {
		e = append(e, &expr.Immediate{Register: reg32 + 2, Data: make([]byte, 4)})
	} else {
		e = append(e, &expr.Payload{DestRegister: reg32 + 2, Base: expr.PayloadBaseNetworkHeader, Offset: daddr, Len: 4})
	}
	const to = reg32 + 4
	return append(e,
		&expr.Lookup{SourceRegister: reg32, DestRegister: to, IsDestRegSet: true, SetName: m.Name, SetID: m.ID},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: to, RegProtoMin: to + 1, Specified: true},
	)
}

func address(offset uint32, op expr.CmpOp, p netip.Prefix) []expr.Any {
	mask := binary.BigEndian.AppendUint32(nil, ^uint32(0)<<(32-p.Bits()))
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: op, Register: 1, Data: p.Masked().Addr().AsSlice()},
	}
}

func outInterface(op expr.CmpOp, name string) []expr.Any {
	b := make([]byte, 16)
	copy(b, name)
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: b}}
}

// translated matches connections whose destination was rewritten: IPS_DST_NAT in ct status.
func translated() []expr.Any {
	const dstNAT = 1 << 5
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATUS, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(dstNAT), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}
