package commit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"testing"
)

// rootOf is RFC 9162 section 2.1.1 as it is written.
func rootOf(leaves []Hash) Hash {
	switch n := len(leaves); n {
	case 0:
		return EmptyRoot()
	case 1:
		return leaves[0]
	default:
		k := 1
		for k*2 < n {
			k *= 2
		}
		return nodeHash(rootOf(leaves[:k]), rootOf(leaves[k:]))
	}
}

// leafHash is the hash of a leaf (RFC 6962 section 2.1).
func leafHash(data []byte) Hash { return sha256.Sum256(append([]byte{0}, data...)) }

func leavesOf(n int) (list []Hash) {
	for i := range n {
		list = append(list, leafHash(binary.BigEndian.AppendUint32(nil, uint32(i))))
	}
	return list
}

// Vectors of the reference implementation of Certificate Transparency (merkle_tree_test.cc of
// google/certificate-transparency): roots of the first n of its eight inputs.
func TestRootsOfTheReferenceImplementation(t *testing.T) {
	var tree Tree
	inputs := []string{"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"}
	roots := []string{
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	}
	for i, in := range inputs {
		data, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		tree.Add(leafHash(data))
		if root := tree.Root(); hex.EncodeToString(root[:]) != roots[i] {
			t.Errorf("root of %d leaves is %x, want %s", i+1, root, roots[i])
		}
	}
}

func TestTreesOfAllSizes(t *testing.T) {
	for n := range 260 {
		leaves := leavesOf(n)
		var tree Tree
		for _, l := range leaves {
			tree.Add(l)
		}
		if tree.Root() != rootOf(leaves) {
			t.Errorf("root of %d leaves", n)
		}
	}
}

func TestProofsOfAnyLeaves(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 70 {
		leaves := leavesOf(n)
		for _, share := range []float64{0, 0.1, 0.5, 0.9, 1} {
			var p Prover
			var known []Known
			for i, l := range leaves {
				is := r.Float64() < share
				if is {
					known = append(known, Known{uint64(i), l})
				}
				p.Add(l, is)
			}
			root, proof := p.Proof()
			if root != rootOf(leaves) {
				t.Fatalf("%d leaves: the prover has another root", n)
			}
			got, err := Verify(uint64(n), known, proof)
			if err != nil || got != root {
				t.Fatalf("%d leaves, %d known: %v", n, len(known), err)
			}
			tampered(t, uint64(n), known, proof, root)
		}
	}
}

// tampered changes each part of a proof.
func tampered(t *testing.T, n uint64, known []Known, proof []Hash, root Hash) {
	t.Helper()
	fails := func(what string, known []Known, proof []Hash) {
		t.Helper()
		if got, err := Verify(n, known, proof); err == nil && got == root {
			t.Errorf("%d leaves, %d known: %s still verifies", n, len(known), what)
		}
	}
	for i := range proof {
		bad := append([]Hash(nil), proof...)
		bad[i][i%32] ^= 1
		fails("a changed hash", known, bad)
		fails("a removed hash", known, append(append([]Hash(nil), proof[:i]...), proof[i+1:]...))
	}
	fails("an added hash", known, append(append([]Hash(nil), proof...), Hash{}))
	for i := range known {
		bad := append([]Known(nil), known...)
		bad[i].Leaf[0] ^= 1
		fails("a changed leaf", bad, proof)
		fails("a removed leaf", append(append([]Known(nil), known[:i]...), known[i+1:]...), proof)
		if i > 0 {
			bad := append([]Known(nil), known...)
			bad[i], bad[i-1] = bad[i-1], bad[i]
			fails("swapped leaves", bad, proof)
			bad = append([]Known(nil), known...)
			bad[i].Leaf, bad[i-1].Leaf = bad[i-1].Leaf, bad[i].Leaf
			fails("exchanged leaves", bad, proof)
		}
	}
}
