// Provider and consumer of a service of Apache Dubbo. Java runs this file as it is.

import java.io.PrintWriter;
import java.io.Serializable;
import java.util.concurrent.CountDownLatch;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;
import org.apache.dubbo.rpc.RpcContext;

public class Dubbo {
    public interface StockService {
        String find(String item);
        int reserve(String item, int count);
        void tell(String text);
    }

    public static class SoldOut extends RuntimeException implements Serializable {
        public SoldOut(String item) { super(item + " is sold out"); }
    }

    public static class Stock implements StockService {
        public String find(String item) { return item + " in aisle 7"; }
        public int reserve(String item, int count) {
            if (count > 5) throw new IllegalStateException(item + " is sold out");
            return 5 - count;
        }
        public void tell(String text) { }
    }

    static ApplicationConfig application(String name) {
        ApplicationConfig a = new ApplicationConfig(name);
        a.setQosEnable(false);
        a.setSerializeCheckStatus("DISABLE");
        return a;
    }

    public static void main(String[] args) throws Exception {
        String host = args[1];
        if (args[0].equals("server")) {
            ServiceConfig<StockService> s = new ServiceConfig<>();
            s.setInterface(StockService.class);
            s.setRef(new Stock());
            s.setVersion("1.0.0");
            ProtocolConfig p = new ProtocolConfig("dubbo", 20880);
            p.setHost(host);
            p.setSerialization("hessian2");
            p.setPreferSerialization("hessian2");
            DubboBootstrap.getInstance().application(application("stock")).registry(new RegistryConfig("N/A")).protocol(p).service(s).start();
            System.out.println("ready");
            new CountDownLatch(1).await();
        }
        PrintWriter out = new PrintWriter(args[2]);
        out.println("# method, result");
        DubboBootstrap b = DubboBootstrap.getInstance().application(application("shop"));
        StockService stock = reference(b, host, "1.0.0");
        stock.find("mug");
        out.println("find\tOK");
        stock.reserve("mug", 2);
        out.println("reserve\tOK");
        try {
            stock.reserve("mug", 9);
        } catch (IllegalStateException e) {
            out.println("reserve\tjava.lang.IllegalStateException");
        }
        RpcContext.getClientAttachment().setAttachment("return", "false");
        stock.tell("closing");
        out.println("tell\tOK");
        out.close();
        System.exit(0);
    }

    static StockService reference(DubboBootstrap b, String host, String version) {
        ReferenceConfig<StockService> r = new ReferenceConfig<>();
        r.setInterface(StockService.class);
        r.setVersion(version);
        r.setUrl("dubbo://" + host + ":20880?serialization=hessian2&prefer.serialization=hessian2");
        r.setTimeout(5000);
        r.setCheck(false);
        b.reference(r).start();
        return r.get();
    }
}
