package all_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"github.com/tenet-run/tenet/controllers/controllerstest"
	"github.com/tenet-run/tenet/kinds"
)

var rewrite = flag.Bool("rewrite", false, "write what the scripts print into testdata")

// TestScripts runs testdata/*.txtar, over the world in memory and over the real API server, which have to print the same: the commands before the first file, one a line, over the files; the file "want" is what they print.
//
//	apply FILE            creates or replaces the objects in a file
//	patch KIND NAME JSON  merge-patches; KIND/SUB through a subresource. NAME is namespace/name, or a name in the namespace "default"
//	delete KIND NAME [POLICY]
//	node NAME, silence NAME, wake NAME   a node that reports, stops to, and does again
//	wait DURATION         lets that much time pass
//	show KIND...          prints all objects of the kinds
//	events                prints what was recorded since the last time
//	restart               ends the controllers and starts them anew
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runScript(t, archive, newCluster)
			want := section(archive, "want")
			if *rewrite {
				setSection(archive, "want", got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if real := runScript(t, archive, overServer); real != want {
				t.Errorf("%s printed something else over the API server\ngot:\n%s\nwant:\n%s", file, real, want)
			}
			if got != want {
				t.Errorf("%s printed something else (go test -rewrite accepts it, -v shows the log)\ngot:\n%s\nwant:\n%s", file, got, want)
			}
		})
	}
}

func section(a *txtar.Archive, name string) string {
	for _, f := range a.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

func setSection(a *txtar.Archive, name, data string) {
	for i := range a.Files {
		if a.Files[i].Name == name {
			a.Files[i].Data = []byte(data)
			return
		}
	}
	a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(data)})
}

func runScript(t *testing.T, archive *txtar.Archive, make func(*testing.T) *cluster) string {
	var out strings.Builder
	synctest.Test(t, func(t *testing.T) {
		c := make(t)
		defer c.close()
		c.start()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for line := range strings.Lines(string(archive.Comment)) {
			line = strings.TrimSpace(line)
			if line == "" || strings.HasPrefix(line, "#") {
				if line != "" {
					fmt.Fprintf(&out, "%s\n", line)
				}
				continue
			}
			fmt.Fprintf(&out, "> %s\n", line)
			if err := c.command(ctx, &out, archive, strings.SplitN(line, " ", 4)); err != nil {
				fmt.Fprintf(&out, "error: %v\n", err)
			}
			synctest.Wait()
		}
	})
	return out.String()
}

func (c *cluster) command(ctx context.Context, out *strings.Builder, archive *txtar.Archive, args []string) error {
	switch args[0] {
	case "apply":
		return c.apply(ctx, section(archive, args[1]))
	case "patch":
		name, sub, _ := strings.Cut(args[1], "/")
		namespace, object := c.where(name, args[2])
		_, err := c.user.Patch(ctx, c.kind(name), namespace, object, types.MergePatchType, []byte(args[3]), sub, metav1.PatchOptions{})
		return err
	case "delete":
		var opts metav1.DeleteOptions
		if len(args) > 3 {
			policy := metav1.DeletionPropagation(args[3])
			opts.PropagationPolicy = &policy
		}
		namespace, object := c.where(args[1], args[2])
		return c.user.Delete(ctx, c.kind(args[1]), namespace, object, opts)
	case "node":
		c.node(ctx, args[1])
	case "silence", "wake":
		c.mu.Lock()
		c.silent[args[1]] = args[0] == "silence"
		c.mu.Unlock()
	case "wait":
		d, err := time.ParseDuration(args[1])
		if err != nil {
			return err
		}
		time.Sleep(d)
		synctest.Wait()
	case "show":
		var list []*kinds.Kind
		for _, name := range strings.Fields(strings.Join(args[1:], " ")) {
			list = append(list, c.kind(name))
		}
		out.WriteString(controllerstest.PrintAll(c.cache, list...))
	case "events":
		out.WriteString(c.events.Take())
	case "restart":
		c.stop()
		c.start()
	default:
		return fmt.Errorf("no command %q", args[0])
	}
	return nil
}

func (c *cluster) kind(name string) *kinds.Kind {
	for _, k := range c.kinds.List() {
		if k.Singular == name || k.Plural == name {
			return k
		}
	}
	c.t.Fatalf("no kind %q", name)
	return nil
}

func (c *cluster) where(kind, name string) (string, string) {
	if namespace, object, ok := strings.Cut(name, "/"); ok {
		return namespace, object
	}
	if c.kind(kind).Namespaced {
		return "default", name
	}
	return "", name
}

// apply creates, or replaces but for what the API sets.
func (c *cluster) apply(ctx context.Context, text string) error {
	for _, doc := range strings.Split(text, "\n---\n") {
		var meta metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(doc), &meta); err != nil {
			return err
		}
		k := c.kind(strings.ToLower(meta.Kind))
		obj := k.New()
		if err := yaml.UnmarshalStrict([]byte(doc), obj); err != nil {
			return err
		}
		obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
		if k.Namespaced && obj.GetNamespace() == "" {
			obj.SetNamespace("default")
		}
		refs := obj.GetOwnerReferences()
		for i := range refs {
			if refs[i].UID != "" {
				continue
			}
			for _, namespace := range []string{obj.GetNamespace(), ""} {
				if owner, ok := c.cache.Get(c.kind(strings.ToLower(refs[i].Kind)), namespace, refs[i].Name); ok {
					refs[i].UID = owner.GetUID()
				}
			}
		}
		obj.SetOwnerReferences(refs)
		if _, ok := c.cache.Get(k, obj.GetNamespace(), obj.GetName()); !ok {
			if _, err := c.user.Create(ctx, k, obj, metav1.CreateOptions{}); err != nil {
				return err
			}
			continue
		}
		if k.Served[0].Default != nil {
			k.Served[0].Default(obj)
		}
		if _, err := c.user.Update(ctx, k, obj, "", metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	return nil
}
