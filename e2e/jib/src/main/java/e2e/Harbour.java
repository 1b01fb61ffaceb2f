package e2e;

public final class Harbour {
    public static void main(String[] arguments) {
        System.out.println("three berths");
    }
}
