package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/mongo/writeconcern"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

const mongoPOM = `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>samples</groupId><artifactId>mongo</artifactId><version>1</version><dependencies>
<dependency><groupId>de.bwaldvogel</groupId><artifactId>mongo-java-server</artifactId><version>1.46.0</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
</dependencies></project>
`

const mongoMain = `import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;

public class Serve {
	public static void main(String[] args) throws Exception {
		new MongoServer(new MemoryBackend()).bind(args[0], 27017);
		System.out.println("ready");
		Thread.sleep(Long.MAX_VALUE);
	}
}
`

func makeMongoDB(ctx context.Context, out string) error {
	l, err := lab.New("mongodb", "", lab.At("client", "10.1.10.5"), lab.At("mongodb", "10.1.10.20"))
	if err != nil {
		return err
	}
	defer l.Close()
	dir, err := lab.Jars(ctx, "mongo-java-server-1.46.0", mongoPOM)
	if err != nil {
		return err
	}
	source := filepath.Join(l.Tmp, "Serve.java")
	if err := os.WriteFile(source, []byte(mongoMain), 0o644); err != nil {
		return err
	}
	if _, err := l.Start("mongodb", "ready", "java", "-cp", dir+"/lib/*", source, "10.1.10.20"); err != nil {
		return err
	}
	r, err := l.Record(filepath.Join(out, "mongodb.pcapng"))
	if err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "mongo-client", "10.1.10.20", filepath.Join(out, "mongodb.said.tsv")); err != nil {
		return err
	}
	return r.Stop()
}

// mongoClient writes, reads in batches, changes, and makes errors.
func mongoClient(ctx context.Context, args []string) error {
	var s lab.Said
	c, err := mongo.Connect(ctx, mongoOptions(args[0]))
	if err != nil {
		return err
	}
	orders := c.Database("shop").Collection("orders")
	for _, do := range []func(context.Context, *mongo.Collection, *lab.Said) error{mongoWrites, mongoReads, mongoChanges, mongoErrors} {
		if err := do(ctx, orders, &s); err != nil {
			return err
		}
	}
	if err := c.Disconnect(ctx); err != nil {
		return err
	}
	if err := mongoUnanswered(ctx, args[0], &s); err != nil {
		return err
	}
	return s.Write(args[1])
}

func mongoWrites(ctx context.Context, orders *mongo.Collection, s *lab.Said) error {
	var docs []any
	for i := range 25 {
		docs = append(docs, bson.D{{Key: "_id", Value: i}, {Key: "status", Value: []string{"paid", "sent"}[i%2]}, {Key: "total", Value: float64(i) * 10.5},
			{Key: "customer", Value: bson.D{{Key: "name", Value: "Ada"}, {Key: "card", Value: "4111111111111111"}}}, {Key: "items", Value: bson.A{"tea", "cup"}}})
	}
	a, err := orders.InsertMany(ctx, docs)
	if err != nil {
		return err
	}
	s.Line("insert\tshop.orders\tok %d", len(a.InsertedIDs))
	return nil
}

// mongoUnanswered writes without acknowledgement, on a connection of its own because this server closes it.
func mongoUnanswered(ctx context.Context, at string, s *lab.Said) error {
	c, err := mongo.Connect(ctx, mongoOptions(at))
	if err != nil {
		return err
	}
	log := c.Database("shop").Collection("log", options.Collection().SetWriteConcern(&writeconcern.WriteConcern{W: 0}))
	if _, err := log.InsertOne(ctx, bson.D{{Key: "_id", Value: 100}, {Key: "status", Value: "new"}}); !errors.Is(err, mongo.ErrUnacknowledgedWrite) {
		return fmt.Errorf("a write without acknowledgement: %w", err)
	}
	s.Line("insert\tshop.log\tunacknowledged")
	time.Sleep(200 * time.Millisecond)
	return c.Disconnect(ctx)
}

func mongoOptions(at string) *options.ClientOptions {
	return options.Client().ApplyURI("mongodb://" + at + ":27017/?directConnection=true").SetAppName("orders-service").SetHeartbeatInterval(time.Hour).SetRetryWrites(false)
}

func mongoReads(ctx context.Context, orders *mongo.Collection, s *lab.Said) error {
	cur, err := orders.Find(ctx, bson.D{{Key: "status", Value: "paid"}, {Key: "total", Value: bson.D{{Key: "$gte", Value: 0}}}},
		options.Find().SetBatchSize(5).SetSort(bson.D{{Key: "_id", Value: 1}}))
	if err != nil {
		return err
	}
	s.Line("find\tshop.orders\t%d documents", cur.RemainingBatchLength())
	left := cur.RemainingBatchLength()
	for cur.Next(ctx) {
		if left == 0 {
			left = cur.RemainingBatchLength() + 1
			s.Line("getMore\tshop.orders\t%d documents", left)
		}
		left--
	}
	if err := cur.Err(); err != nil {
		return err
	}
	cur, err = orders.Aggregate(ctx, bson.A{bson.D{{Key: "$match", Value: bson.D{{Key: "status", Value: "sent"}}}},
		bson.D{{Key: "$group", Value: bson.D{{Key: "_id", Value: "$status"}, {Key: "sum", Value: bson.D{{Key: "$sum", Value: "$total"}}}}}}})
	if err != nil {
		return err
	}
	s.Line("aggregate\tshop.orders\t%d documents", cur.RemainingBatchLength())
	values, err := orders.Distinct(ctx, "status", bson.D{})
	if err != nil {
		return err
	}
	s.Line("distinct\tshop.orders\t%d documents", len(values))
	return cur.Close(ctx)
}

func mongoChanges(ctx context.Context, orders *mongo.Collection, s *lab.Said) error {
	u, err := orders.UpdateMany(ctx, bson.D{{Key: "status", Value: "paid"}}, bson.D{{Key: "$set", Value: bson.D{{Key: "status", Value: "sent"}}}})
	if err != nil {
		return err
	}
	s.Line("update\tshop.orders\tok %d, %d modified", u.MatchedCount, u.ModifiedCount)
	d, err := orders.DeleteMany(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: bson.A{1, 2, 3}}}}})
	if err != nil {
		return err
	}
	s.Line("delete\tshop.orders\tok %d", d.DeletedCount)
	var before bson.M
	if err := orders.FindOneAndUpdate(ctx, bson.D{{Key: "_id", Value: 4}}, bson.D{{Key: "$inc", Value: bson.D{{Key: "total", Value: 1}}}}).Decode(&before); err != nil {
		return err
	}
	s.Line("findAndModify\tshop.orders\tok")
	return nil
}

func mongoErrors(ctx context.Context, orders *mongo.Collection, s *lab.Said) error {
	_, err := orders.InsertOne(ctx, bson.D{{Key: "_id", Value: 0}})
	var w mongo.WriteException
	if !errors.As(err, &w) {
		return fmt.Errorf("a duplicate: %w", err)
	}
	s.Line("insert\tshop.orders\terror %d", w.WriteErrors[0].Code)
	for _, cmd := range []bson.D{{{Key: "shopStatus", Value: 1}}, {{Key: "find", Value: "orders"}, {Key: "filter", Value: bson.D{{Key: "a", Value: bson.D{{Key: "$nope", Value: 1}}}}}}} {
		var e mongo.CommandError
		if err := orders.Database().RunCommand(ctx, cmd).Err(); !errors.As(err, &e) {
			return fmt.Errorf("command %s: %w", cmd[0].Key, err)
		}
		namespace := "shop"
		if name, ok := cmd[0].Value.(string); ok {
			namespace += "." + name
		}
		s.Line("%s\t%s\terror %d", cmd[0].Key, namespace, e.Code)
	}
	return nil
}
