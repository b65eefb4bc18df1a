//! The shop whose traces are sent: its services, what they do, and whom they ask.
//!
//! Made up, and plain data: a front door, seven services behind it, two stores and a queue, so
//! that Zipkin has a dependency graph to draw. Operations name their callees, never their
//! callers: each trace ends.

/// A service that is traced, or a store that is not.
#[derive(Debug)]
pub struct Service {
    pub name: &'static str,
    pub ipv4: [u8; 4],
    pub port: u16,
    /// One of its instances, as a tag.
    pub instance: &'static str,
}

/// What a service does when it is asked.
#[derive(Debug)]
pub struct Operation {
    pub service: &'static Service,
    pub name: &'static str,
    pub method: &'static str,
    pub path: &'static str,
    /// Its own work, about so many microseconds.
    pub work_us: u64,
    /// How often in a thousand it fails by itself, and what it then says.
    pub fails: (u32, &'static str),
    pub steps: &'static [Step],
}

/// Something that an operation does in so many percent of the times.
#[derive(Debug)]
pub struct Step {
    pub percent: u32,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    /// A call that is traced on both sides.
    Call(&'static Operation),
    /// A query of a store, which only the caller traces.
    Query { store: &'static Service, name: &'static str, statement: &'static str },
    /// A message by way of a broker; the receiver works after the sender has gone on.
    Publish { broker: &'static Service, topic: &'static str, receiver: &'static Operation },
}

const fn service(name: &'static str, host: u8, port: u16, instance: &'static str) -> Service {
    Service { name, ipv4: [10, 1, 0, host], port, instance }
}

static FRONTEND: Service = service("frontend", 10, 8080, "frontend-5d8c9b7f4-x2k1q");
static CATALOGUE: Service = service("catalogue", 20, 8081, "catalogue-7f6b8d9c5-m4tzp");
static CART: Service = service("cart", 30, 8082, "cart-6c4d7b8f9-qw8rn");
static CHECKOUT: Service = service("checkout", 40, 8083, "checkout-9b7d6f5c8-hj2vl");
static PAYMENT: Service = service("payment", 50, 8084, "payment-8f7c6d5b4-zx9ck");
static STOCK: Service = service("stock", 60, 8085, "stock-4b5c6d7f8-ty3wd");
static USERS: Service = service("users", 70, 8086, "users-5c6d7f8b9-as5gh");
static MAIL: Service = service("mail", 80, 8087, "mail-7d8f9b6c5-op1ij");
static POSTGRES: Service = service("postgres", 200, 5432, "");
static REDIS: Service = service("redis", 201, 6379, "");
static KAFKA: Service = service("kafka", 202, 9092, "");

const fn call(percent: u32, operation: &'static Operation) -> Step {
    Step { percent, what: What::Call(operation) }
}

const fn query(percent: u32, store: &'static Service, name: &'static str, statement: &'static str) -> Step {
    Step { percent, what: What::Query { store, name, statement } }
}

static SESSION: Operation = Operation {
    service: &USERS,
    name: "get /sessions/{id}",
    method: "GET",
    path: "/sessions/8f14e45f",
    work_us: 600,
    fails: (2, "401 Unauthorized"),
    steps: &[query(95, &REDIS, "get", "GET session:8f14e45f"), query(10, &POSTGRES, "select", "SELECT * FROM users")],
};

static STOCK_OF: Operation = Operation {
    service: &STOCK,
    name: "get /stock/{item}",
    method: "GET",
    path: "/stock/1179",
    work_us: 900,
    fails: (5, "503 Service Unavailable"),
    steps: &[query(100, &POSTGRES, "select", "SELECT item, left FROM stock WHERE item = $1")],
};

static RESERVE: Operation = Operation {
    service: &STOCK,
    name: "post /reservations",
    method: "POST",
    path: "/reservations",
    work_us: 1_500,
    fails: (10, "409 Conflict"),
    steps: &[query(100, &POSTGRES, "update", "UPDATE stock SET left = left - 1 WHERE item = $1")],
};

static BROWSE: Operation = Operation {
    service: &CATALOGUE,
    name: "get /items",
    method: "GET",
    path: "/items?page=2",
    work_us: 2_500,
    fails: (4, "500 Internal Server Error"),
    steps: &[
        query(80, &REDIS, "mget", "MGET item:1179 item:1180 item:1181"),
        query(40, &POSTGRES, "select", "SELECT * FROM items WHERE page = $1"),
        call(70, &STOCK_OF),
    ],
};

static SHOW_CART: Operation = Operation {
    service: &CART,
    name: "get /cart",
    method: "GET",
    path: "/cart",
    work_us: 800,
    fails: (3, "500 Internal Server Error"),
    steps: &[query(100, &REDIS, "hgetall", "HGETALL cart:4711"), call(50, &STOCK_OF)],
};

static CHARGE: Operation = Operation {
    service: &PAYMENT,
    name: "post /charges",
    method: "POST",
    path: "/charges",
    work_us: 22_000,
    fails: (40, "402 Payment Required"),
    steps: &[query(100, &POSTGRES, "insert", "INSERT INTO charges VALUES ($1, $2, $3)")],
};

static CONFIRM: Operation = Operation {
    service: &MAIL,
    name: "confirm order",
    method: "POST",
    path: "/orders",
    work_us: 6_000,
    fails: (15, "mailbox unavailable"),
    steps: &[query(100, &REDIS, "get", "GET template:order")],
};

static ORDER: Operation = Operation {
    service: &CHECKOUT,
    name: "post /orders",
    method: "POST",
    path: "/orders",
    work_us: 3_000,
    fails: (6, "500 Internal Server Error"),
    steps: &[
        call(100, &SHOW_CART),
        call(100, &RESERVE),
        call(95, &CHARGE),
        query(95, &POSTGRES, "insert", "INSERT INTO orders VALUES ($1, $2)"),
        Step { percent: 95, what: What::Publish { broker: &KAFKA, topic: "orders", receiver: &CONFIRM } },
    ],
};

/// What a browser asks of the front door; each is the root of a trace.
pub static DOORS: [Operation; 3] = [
    Operation {
        service: &FRONTEND,
        name: "get /",
        method: "GET",
        path: "/",
        work_us: 1_800,
        fails: (2, "500 Internal Server Error"),
        steps: &[call(80, &SESSION), call(100, &BROWSE), call(60, &SHOW_CART)],
    },
    Operation {
        service: &FRONTEND,
        name: "get /cart",
        method: "GET",
        path: "/cart",
        work_us: 1_200,
        fails: (2, "500 Internal Server Error"),
        steps: &[call(100, &SESSION), call(100, &SHOW_CART), call(30, &BROWSE)],
    },
    Operation {
        service: &FRONTEND,
        name: "post /checkout",
        method: "POST",
        path: "/checkout",
        work_us: 2_400,
        fails: (3, "500 Internal Server Error"),
        steps: &[call(100, &SESSION), call(100, &ORDER)],
    },
];
